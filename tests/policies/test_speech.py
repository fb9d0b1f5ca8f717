"""Replies behind a prefix: their loss, writing them, and heads that read them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.backbones.language_config import SmolvlmConfig
from policies.heads.config import RegressionConfig
from policies.heads.config_language import WordsConfig
from policies.speech import read, write
from tests.policies.samples import EMBODIMENT, HORIZON, batch, build, observations
from vla.errors import ConfigError, ShapeError

BACKBONE = SmolvlmConfig(state="none", image_size=40, bucket=4)
REPLIES = ["red cube", "", "yes", "there are 2 objects"]


def policy(**options):
    return build(WordsConfig(bins=16), backbone=BACKBONE, **options)


def spoken(replies=REPLIES, *, robots=(0, 1)):
    """A batch where only `robots` have actions and the others no known state."""
    made = batch()
    mask, state = made.mask.clone(), made.state.clone()
    for row in set(range(len(made))) - set(robots):
        mask[row], state[row] = 0, torch.nan
    return replace(made, mask=mask, state=state, reply=list(replies))


def loss(made, the_batch):
    return made.loss(the_batch, generator=torch.Generator().manual_seed(0))


def context_of(made, the_batch):
    return made.backbone.encode(the_batch.images, the_batch.instruction, the_batch.state * 0)


def test_the_loss_of_one_reply_does_not_depend_on_its_neighbours():
    made, whole = policy().eval(), batch()
    with torch.no_grad():
        together, _ = read(context_of(made, whole), REPLIES)
        language = context_of(made, whole).language
        sums, count = 0.0, 0
        for row, reply in enumerate(REPLIES):
            if not reply:
                continue
            alone = replace(
                whole,
                images={name: image[row : row + 1] for name, image in whole.images.items()},
                state=whole.state[row : row + 1],
                instruction=[whole.instruction[row]],
            )
            mean, _ = read(context_of(made, alone), [reply])
            words = len(language.tokenizer(reply, add_special_tokens=False).input_ids) + 1
            sums, count = sums + float(mean) * words, count + words
    assert float(together) == pytest.approx(sums / count, rel=1e-4)


def test_questions_teach_words_and_no_action():
    made = policy()
    total, parts = loss(made, spoken())
    assert float(total.detach()) == pytest.approx(float(parts["action"] + parts["text"]), rel=1e-5)
    other = spoken()
    other.actions[2:] = 0.05  # of the questions; nothing may come of it
    assert float(loss(made, other)[1]["action"]) == float(parts["action"])
    total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())
    assert "text" not in loss(made, replace(spoken(), reply=None))[1]


def test_the_weight_of_the_text_is_set():
    _, parts = loss(policy(text_weight=0.0), spoken())
    assert float(parts["loss"]) == float(parts["action"])


@pytest.mark.slow
def test_what_was_learnt_is_answered_and_read_like_in_training():
    made, lesson = policy(), spoken()
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss(made, lesson)[0].backward()
        optimizer.step()
    made.eval()
    numbers = {name: image.numpy() for name, image in lesson.images.items()}
    asked = [2, 3]
    pictures = {name: image[asked] for name, image in numbers.items()}
    said = made.answer(pictures, [lesson.instruction[i] for i in asked])
    assert said == [REPLIES[i] for i in asked]
    with torch.no_grad():
        start = context_of(made, lesson)
        _, written = write(start, words=8)
        texts, _ = write(start, words=8)
        _, known = read(start, texts, always=True)
        told = [c.language.score(c.last()) for c in (written, known)]
    taught = [0, 2, 3]  # what row 1 says need not split into the same words again
    assert torch.allclose(told[0][taught], told[1][taught], atol=1e-3)


def test_answers_are_the_same_alone_and_together():
    made = policy().eval()
    images = {name: image.numpy() for name, image in batch().images.items()}
    questions = ["what is it?", "where", "how many red objects are there?", "no"]
    together = made.answer(images, questions, words=5)
    alone = [
        made.answer({n: i[row : row + 1] for n, i in images.items()}, [questions[row]], words=5)[0]
        for row in range(4)
    ]
    assert together == alone
    with pytest.raises(ShapeError, match="front"):
        made.answer({"front": np.zeros((4, 1, 8, 8, 3), np.uint8)}, questions)


def test_actions_stay_legal_whatever_is_said():
    """Robot prompts write action words only, questions any word."""
    made = policy(plan_words=3).eval()
    chunks = made.act(observations(), seeds=[0] * 4)
    for chunk in chunks:
        assert chunk.actions.shape == (HORIZON, len(EMBODIMENT.action))
        assert np.isfinite(chunk.actions).all()


@pytest.mark.parametrize("plan_words", [0, 6])
def test_plans_reach_the_actions_only_when_asked_for(plan_words):
    made = policy(plan_words=plan_words)
    one = loss(made, spoken(["go left", "grasp", "yes", "no"]))[1]["action"]
    two = loss(made, spoken(["go right", "let go", "yes", "no"]))[1]["action"]
    assert (float(one) != float(two)) == (plan_words > 0)


def test_a_policy_that_plans_learns_to_have_none():
    made = policy(plan_words=4)
    assert "text" in loss(made, replace(spoken(robots=range(4)), reply=None))[1]


def test_words_need_a_language_model():
    made = build(RegressionConfig(width=32, layers=1))
    with pytest.raises(ConfigError, match="language model"):
        loss(made, spoken())
    with pytest.raises(ConfigError, match="language model"):
        made.answer({}, ["what?"])
