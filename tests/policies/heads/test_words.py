import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from policies.backbones.word_pieces import make_tokenizer
from policies.heads.config_language import WordsConfig
from policies.heads.tokenizers.bins import EdgeBins
from policies.heads.words import hold
from policies.heads.words_vocabulary import Digits, assign_words
from tests.contracts.test_language_heads import BACKBONE, encode, save_fast
from tests.policies.samples import EMBODIMENT, HORIZON, batch, build
from vla.errors import ConfigError

AXES = len(EMBODIMENT.action)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(size=4, seed=1):
    return torch.randn(size, HORIZON, AXES, generator=seeded(seed))


class Listener:
    """A language model that is watched: what is asked of it, and what it is made to say."""

    def __init__(self, language, favourite=None):
        self.language, self.favourite = language, favourite
        self.tokenizer, self.embed = language.tokenizer, language.embed
        self.reserve = language.reserve
        self.lengths = []

    def extend(self, embedded, prefix, visible=None):
        self.lengths.append(embedded.shape[1])
        return self.language.extend(embedded, prefix, visible)

    def score(self, hidden):
        scores = self.language.score(hidden)
        if self.favourite is not None:
            scores[..., self.favourite] += 1000
        return scores


def listen(policy, **options):
    context = encode(policy, batch())
    listener = Listener(context.language, **options)
    fields = {name: getattr(context, name) for name in ("tokens", "mask", "pooled", "prefix")}
    return type(context)(**fields, state=context.state, language=listener), listener


# Reading on in place


def test_a_prefix_with_room_reads_as_one_that_grows():
    policy = build(WordsConfig(), backbone=BACKBONE).eval()
    with torch.no_grad():
        context = encode(policy, batch())
        language, plain = context.language, context.prefix
        roomy, length = language.reserve(plain, 4), plain.mask.shape[1]
        kept = [key.clone() for key, _ in plain.layers]
        for word in ([[5]], [[9, 7]], [[3]]):
            embedded = language.embed(torch.tensor(word * 4))
            want, plain = language.extend(embedded, plain)
            told, roomy = language.extend(embedded, roomy)
            np.testing.assert_allclose(told, want, atol=1e-5)
            assert roomy.mask.shape[1] == length + 4
            count = plain.mask.shape[1]
            assert torch.equal(roomy.positions[:, :count], plain.positions)
            assert torch.equal(roomy.mask.sum(1), plain.mask.sum(1))
    for before, (key, _) in zip(kept, context.prefix.layers, strict=True):
        assert torch.equal(key, before)  # what others may still go on from


# Which words


def test_openvla_writes_what_openvla_wrote():
    """Token id = 32000 - digit, digits 1 to 256 by numpy.digitize; the last two share a centre."""
    actions = torch.tensor([-2.0, -1.0, -0.4, 0.0, 0.5, 0.999, 1.0, 3.0]).view(1, -1, 1)
    tokenizer = SimpleNamespace(vocab_size=32000)
    ids = assign_words("last", tokenizer, 256)[torch.tensor(Digits().encode(actions))]
    edges = np.linspace(-1, 1, 256)
    digits = np.digitize(actions.clamp(-1, 1).flatten().double().numpy(), edges)
    assert ids.flatten().tolist() == (32000 - digits).tolist()
    assert digits.min() == 1
    assert digits.max() == 256
    assert ids.flatten().tolist() == EdgeBins().encode(actions)[0]
    centres = (edges[:-1] + edges[1:]) / 2
    read = Digits().decode(Digits().encode(actions), horizon=8, axes=1)
    assert read.valid.all()
    expected = centres[np.clip(digits - 1, 0, 254)]
    np.testing.assert_allclose(read.actions.flatten().numpy(), expected, atol=1e-7)


def test_pi0_fast_counts_down_behind_the_skipped_words():
    ids = assign_words("last", SimpleNamespace(vocab_size=257152), 2048, skip=128)
    symbols = torch.arange(2048)
    assert torch.equal(ids, 257152 - 1 - 128 - symbols)  # lerobot: vocab_size - 1 - skip - token


def test_rare_words_step_over_special_ones():
    tokenizer = SimpleNamespace(
        vocab_size=10, all_special_ids=[9, 0], added_tokens_decoder={7: "<image>"}
    )
    assert assign_words("rare", tokenizer, 4).tolist() == [8, 6, 5, 4]


def test_integers_read_as_what_they_are():
    tokenizer = make_tokenizer()
    ids = assign_words("integers", tokenizer, 256)
    assert [tokenizer.decode([word]) for word in ids.tolist()] == [str(k) for k in range(256)]
    with pytest.raises(ConfigError, match="256"):
        assign_words("integers", tokenizer, 300)
    with pytest.raises(ConfigError, match="fit"):
        assign_words("last", tokenizer, 2000)


# Writing


@pytest.mark.parametrize("options", [{}, {"begin": "action"}])
def test_one_pass_teaches_what_steps_would_write(options):
    """Teacher forcing and the growing cache give the same probabilities, word by word."""
    policy = build(WordsConfig(**options), backbone=BACKBONE).eval()
    head, actions = policy.head, batch().actions.clamp(-1, 1)
    with torch.no_grad():
        context = encode(policy, batch())
        loss = head.loss(context, actions, torch.ones_like(actions), generator=seeded())
        vocabulary = head._look_up(context.language, actions.device)
        words = vocabulary.ids[torch.tensor(head.tokenizer.encode(actions))]
        nothing = words[:, :0]
        last, prefix = head._open(context, context.language, vocabulary, nothing)
        errors = []
        for step in range(words.shape[1]):
            shares = context.language.score(last)[:, -1].log_softmax(dim=1)
            errors.append(-shares.gather(1, words[:, step : step + 1]))
            last, prefix = context.language.extend(
                context.language.embed(words[:, step : step + 1]), prefix
            )
    torch.testing.assert_close(loss, torch.cat(errors, 1).mean(1), atol=1e-4, rtol=1e-4)


def test_only_action_words_are_written():
    """Even when the language model would rather say something else (RT-2's constraint)."""
    policy = build(WordsConfig(), backbone=BACKBONE).eval()
    with torch.no_grad():
        context, listener = listen(policy, favourite=5)
        assert 5 not in assign_words("last", listener.tokenizer, 256)
        scores = listener.score(context.tokens[:, -1:])
        assert (scores.argmax(dim=-1) == 5).all(), "free to choose, it would always say word 5"
        plan = policy.head.sample(context, None, numbers())
    edges = np.linspace(-1, 1, 256)
    centres = torch.from_numpy((edges[:-1] + edges[1:]) / 2).float()
    assert (plan.flatten().unsqueeze(1) == centres).any(dim=1).all()


@pytest.mark.parametrize(("rows", "passes"), [(0, HORIZON * AXES - 1), (2, HORIZON * AXES - 6)])
def test_each_word_is_read_once(rows, passes):
    """Committed rows are read in one pass; then one word at a time, none of them twice."""
    policy = build(WordsConfig(), backbone=BACKBONE).eval()
    with torch.no_grad():
        context, listener = listen(policy)
        pending = numbers(seed=3).clamp(-1, 1)[:, :rows] if rows else None
        policy.head.sample(context, pending, numbers())
    assert len(listener.lengths) == passes
    assert sum(listener.lengths) == HORIZON * AXES - 1
    assert listener.lengths[0] == max(1, rows * AXES)


def test_committed_rows_are_read_as_their_words():
    """A plan continued from its own first rows is the same plan."""
    policy = build(WordsConfig(), backbone=BACKBONE).eval()
    with torch.no_grad():
        context = encode(policy, batch())
        plan = policy.head.sample(context, None, numbers())
        again = policy.head.sample(context, plan[:, :2], numbers())
    torch.testing.assert_close(plan, again)


def test_words_are_drawn_by_their_probability():
    config = WordsConfig(symbols="bins", bins=2, temperature=0.5)
    head = build(config, backbone=BACKBONE).head
    scores = torch.tensor([[math.log(0.36), math.log(0.64)]]).expand(20000, 2)
    chance = torch.special.ndtr(torch.randn(20000, generator=seeded()))
    share = head._choose(scores, chance).float().mean().item()
    sharpened = 0.64**2 / (0.64**2 + 0.36**2)
    assert share == pytest.approx(sharpened, abs=0.01)


def test_drawn_plans_differ_by_their_noise_alone():
    policy = build(WordsConfig(temperature=1.0), backbone=BACKBONE).eval()
    with torch.no_grad():
        context = encode(policy, batch())
        first, again, other = (
            policy.head.sample(context, None, numbers(seed=seed)) for seed in (1, 1, 2)
        )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# Words over frequencies


def test_fast_ends_where_the_end_word_is_written(tmp_path):
    policy = build(save_fast(tmp_path / "fast"), backbone=BACKBONE).eval()
    with torch.no_grad():
        _, listener = listen(policy)
        end = policy.head._look_up(listener, torch.device("cpu")).end
        context, listener = listen(policy, favourite=end)
        plan = policy.head.sample(context, None, numbers())
    assert listener.lengths == [], "it said 'end' at once"
    assert not plan.any(), "a chunk without words is rest"


def test_fast_teaches_every_word_and_the_end(tmp_path):
    """With uniform scores the loss is log V whatever the length; the end counts as a word."""
    policy = build(save_fast(tmp_path / "fast"), backbone=BACKBONE).eval()
    with torch.no_grad():
        context, listener = listen(policy)
        listener.score = lambda hidden: torch.zeros(*hidden.shape[:2], 1024)
        actions, mask = numbers().clamp(-1, 1), torch.ones(4, HORIZON, AXES)
        loss = policy.head.loss(context, actions, mask, generator=seeded())
        lengths = [len(line) for line in policy.head.tokenizer.encode(actions)]
    torch.testing.assert_close(loss, torch.full((4,), math.log(1024)))
    assert listener.lengths == [max(lengths)]


def test_padding_is_held_for_frequencies():
    actions = torch.tensor([[[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]])
    mask = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
    assert hold(actions, mask).tolist() == [[[1, 0], [2, 0], [2, 0]]]


def test_options_that_contradict_are_refused(tmp_path):
    for options in (
        {"symbols": "fast"},
        {"symbols": "fast", "fast": "somewhere"},
        {"end": "|"},
        {"fast": "somewhere"},
        {"words": "nice"},
        {"skip": -1},
    ):
        with pytest.raises(ConfigError):
            WordsConfig(**options)
    policy = build(WordsConfig(skip=900), backbone=BACKBONE)
    with pytest.raises(ConfigError, match="fit"):
        policy.loss(batch(), generator=seeded())
    config = save_fast(tmp_path / "fast")
    two = WordsConfig(symbols="fast", fast=config.fast, end="the end is near")
    with pytest.raises(ConfigError, match="one word"):
        build(two, backbone=BACKBONE).loss(batch(), generator=seeded())
