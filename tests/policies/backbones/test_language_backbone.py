"""What the backbones around a language model share; the tiny sizes."""

import pytest
import torch

from policies.backbones.decoder import see_blocks
from policies.backbones.interface import Prefix
from tests.policies.backbones.language_samples import (
    CONFIGS,
    MODULES,
    TEXTS,
    build,
    make_body,
    make_images,
    save_paligemma,
    save_qwen3,
)
from vla.errors import (
    CheckpointError,
    ConfigError,
    EmbodimentMismatch,
    ShapeError,
    UnknownChoice,
)

NEAR = {"atol": 1e-5, "rtol": 1e-5}
CAMERAS = ("front", "wrist")


@pytest.fixture(params=sorted(CONFIGS))
def kind(request):
    return request.param


def encode(backbone, *, size=3, seed=0, texts=TEXTS, state=None, steps=1, cameras=("front",)):
    images = make_images(40, size, cameras, steps, seed)
    if state is None:
        state = torch.linspace(-1, 1, size * steps).view(size, steps, 1)
    with torch.no_grad():
        return backbone.encode(images, texts[:size], state)


def snapshot(prefix):
    return [tensor.clone() for pair in prefix.layers for tensor in pair]


def test_extend_equals_one_full_reading(kind):
    """Causal words behind a prefix: read at once, in parts, or as part of the prompt itself."""
    backbone = build(kind, state="none", attention="causal")
    context = encode(backbone)
    language = context.language
    before = snapshot(context.prefix)
    symbols = torch.randint(20, 300, (3, 5), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        embedded = language.embed(symbols)
        hidden, longer = language.extend(embedded, context.prefix)
        first, half = language.extend(embedded[:, :2], context.prefix)
        rest, whole = language.extend(embedded[:, 2:], half)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), hidden, **NEAR)
    for one, two in zip(snapshot(longer), snapshot(whole), strict=True):
        torch.testing.assert_close(one, two, **NEAR)
    assert torch.equal(longer.positions[:, -5:], whole.positions[:, -5:])
    assert all(torch.equal(a, b) for a, b in zip(before, snapshot(context.prefix), strict=True))


def test_extend_reads_the_end_of_a_prompt_as_encode_did(kind):
    backbone = build(kind, state="none", attention="causal", bucket=1)
    context, end = encode(backbone, size=1), 3
    prefix = context.prefix
    cut = Prefix(
        layers=tuple((key[:, :, :-end], value[:, :, :-end]) for key, value in prefix.layers),
        mask=prefix.mask[:, :-end],
        positions=prefix.positions[:, :-end],
    )
    last = backbone._prompt.write(TEXTS[:1], None)[1].ids[:, -end:]
    with torch.no_grad():
        hidden, longer = context.language.extend(context.language.embed(last), cut)
    torch.testing.assert_close(hidden, context.tokens[:, -end:], **NEAR)
    for one, two in zip(snapshot(longer), snapshot(prefix), strict=True):
        torch.testing.assert_close(one, two, **NEAR)


def test_prefix_repeats_with_its_context(kind):
    context = encode(build(kind))
    twice = context.repeat(2)
    embedded = context.language.embed(torch.full((3, 2), 33))
    with torch.no_grad():
        hidden, _ = context.language.extend(embedded, context.prefix)
        again, _ = twice.language.extend(embedded.repeat_interleave(2, 0), twice.prefix)
    torch.testing.assert_close(again, hidden.repeat_interleave(2, 0), **NEAR)


def test_geometry_is_that_of_the_prefix(kind):
    backbone = build(kind)
    context, geometry = encode(backbone), backbone.shape.language
    assert len(context.prefix.layers) == geometry.layers
    assert context.tokens.shape[-1] == geometry.width == backbone.dim
    for key, value in context.prefix.layers:
        assert key.shape == value.shape
        assert key.shape[1] == geometry.key_value_heads
        assert key.shape[3] == geometry.head_dim
    scores = context.language.score(context.tokens)
    assert scores.shape[-1] == geometry.vocabulary
    assert scores.dtype == torch.float32


def test_readouts_see_and_are_not_seen(kind):
    """The prefix is the same without them; each of them follows what is seen."""
    plain = encode(build(kind, seed=1))
    assert plain.readouts is None
    backbone = build(kind, seed=1, readouts=4, readout="zero")
    asked = encode(backbone)
    assert asked.readouts.shape == (3, 4, backbone.dim)
    torch.testing.assert_close(asked.tokens[asked.mask], plain.tokens[plain.mask], **NEAR)
    for (key, _), (other, _) in zip(asked.prefix.layers, plain.prefix.layers, strict=True):
        assert key.shape == other.shape
    # told apart by their positions alone
    assert not torch.allclose(asked.readouts[:, 0], asked.readouts[:, 1])
    other = encode(backbone, seed=5)
    assert not torch.allclose(asked.readouts, other.readouts, atol=1e-4)


def test_a_later_readout_moves_an_earlier_one(kind):
    backbone = build(kind, readouts=3)
    before = encode(backbone).readouts
    with torch.no_grad():
        backbone._readouts[2] += 1
    assert not torch.allclose(encode(backbone).readouts[:, 0], before[:, 0], atol=1e-5)


def test_end_token_as_readout():
    backbone = build("prismatic", readouts=1, readout="token", state="none", attention="causal")
    context = encode(backbone)
    end = torch.full((3, 1), backbone._prompt.tokenizer.eos_token_id)
    with torch.no_grad():
        hidden, _ = context.language.extend(context.language.embed(end), context.prefix)
    torch.testing.assert_close(context.readouts, hidden, **NEAR)


@pytest.mark.parametrize("attention", ["causal", "prefix", "bidirectional"])
def test_attention_lets_see(attention):
    """Does the first picture hear of the last word, does either hear of the state?"""
    backbone = build("paligemma", attention=attention)
    base = encode(backbone)
    words = encode(backbone, texts=["pick up the red ball", *TEXTS[1:]])
    state = encode(backbone, state=torch.zeros(3, 1, 1))

    def first_moved(other):
        return not torch.allclose(base.tokens[0, 0], other.tokens[0, 0], atol=1e-6)

    assert first_moved(words) == (attention != "causal")
    assert first_moved(state) == (attention == "bidirectional")
    assert not torch.allclose(base.pooled[0], state.pooled[0], atol=1e-6)


def test_blocks():
    blocks = torch.tensor([[0, 0, 1, 2]])
    mask = torch.tensor([[True, True, True, False]])
    assert see_blocks(blocks, mask)[0].int().tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 0],
    ]


def test_each_input_matters(kind):
    backbone = build(kind, cameras=CAMERAS, history=2)
    images = make_images(40, 2, CAMERAS, 2)
    state = torch.randn(2, 2, 1, generator=torch.Generator().manual_seed(3))

    def look(images=images, texts=TEXTS[:2], state=state):
        with torch.no_grad():
            return backbone.encode(images, texts, state).pooled

    before = look()
    for name in CAMERAS:
        for step in range(2):
            changed = {key: value.clone() for key, value in images.items()}
            changed[name][:, step] = 255 - changed[name][:, step]
            assert not torch.allclose(before, look(images=changed), atol=1e-6), (name, step)
    assert not torch.allclose(before, look(texts=["stop", "stop"]), atol=1e-6)
    assert not torch.allclose(before, look(state=-state), atol=1e-6)


def test_state_as_text_or_not_at_all(kind):
    told = build(kind, state="text")
    before = encode(told)
    after = encode(told, state=torch.tensor([0.9, 0.0, 1.0]).view(3, 1, 1))
    assert not torch.allclose(before.pooled[0], after.pooled[0], atol=1e-6)
    torch.testing.assert_close(before.pooled[1:], after.pooled[1:])  # the same bins
    blind = build(kind, state="none")
    assert torch.equal(encode(blind).pooled, encode(blind, state=torch.ones(3, 1, 1)).pooled)
    assert not [name for name, _ in blind.named_parameters() if "state" in name]


def test_cameras_are_seen_in_the_order_asked_for():
    body, seen = make_body(40, CAMERAS), []
    for order in ([], ["front", "wrist"], ["wrist", "front"], ["wrist"]):
        torch.manual_seed(0)
        backbone = CONFIGS["paligemma"](cameras=order).build(body, history=1).eval()
        seen.append(encode(backbone, cameras=CAMERAS).tokens)
    assert torch.equal(seen[0], seen[1])
    assert not torch.allclose(seen[1], seen[2], atol=1e-6)
    assert seen[3].shape[1] == seen[2].shape[1] - 36


def test_shapes_stay_few():
    backbone = build("paligemma", bucket=16)
    counts = {encode(backbone, size=1, texts=[text]).tokens.shape[1] for text in TEXTS}
    assert len(counts) == 1
    mask = encode(backbone).mask
    assert mask.sum(1).unique().numel() == 3  # and yet each has a length of its own


PARTS = {"vision": "tower.vision", "projector": "tower.projector", "language": "decoder"}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_frozen_parts_get_no_gradient(kind, part):
    backbone = build(kind, readouts=2, labels=["target"], **{part: "frozen"}).train()
    context = backbone.encode(make_images(40, 3), TEXTS, torch.randn(3, 1, 1))
    loss = context.tokens.square().sum() + context.readouts.sum()
    (loss + context.labels["target"].sum()).backward()
    modules = {
        "vision": backbone.tower.vision,
        "projector": backbone.tower.projector,
        "language": backbone.decoder,
    }
    projector = {id(p) for p in modules["projector"].parameters()}
    for name, module in modules.items():
        for weight in module.parameters():
            if name == "vision" and id(weight) in projector:
                continue  # Qwen's mergers lie within its vision model
            assert (weight.grad is None) == (name == part), name
    first = next(modules[part].children(), modules[part])
    assert not first.training
    assert backbone._state_token.weight.grad.any()
    assert backbone._readouts.grad.any()


def test_first_layers_only():
    short = build("smolvlm", layers=1)
    assert short.shape.language.layers == 1
    assert len(encode(short).prefix.layers) == 1
    with pytest.raises(ConfigError, match="has 3"):
        build("smolvlm", layers=4)


def test_half_precision(kind):
    full, half = build(kind), build(kind, dtype="bfloat16")
    assert half.decoder.dtype == torch.bfloat16
    one, two = encode(full), encode(half)
    assert two.tokens.dtype == two.pooled.dtype == torch.float32
    assert two.prefix.layers[0][0].dtype == torch.bfloat16
    torch.testing.assert_close(two.pooled, one.pooled, atol=0.1, rtol=0.1)


def test_other_picture_sizes(kind):
    cell = {"paligemma": 14, "prismatic": 14, "qwen_vl": 24, "smolvlm": 20}[kind]
    backbone = build(kind, image_size=2 * cell)
    assert backbone.tower.grid == (2, 2)
    assert encode(backbone).tokens.isfinite().all()
    with pytest.raises(ConfigError, match=f"image_size={2 * cell}"):
        build(kind, image_size=2 * cell + 1)


def test_black_pictures_are_pictures(kind):
    backbone = build(kind)
    black = {"front": torch.zeros(2, 1, 40, 40, 3, dtype=torch.uint8)}
    grey = {"front": torch.full((2, 1, 40, 40, 3), 127, dtype=torch.uint8)}
    mixed = {"front": torch.cat([black["front"][:1], grey["front"][:1]])}
    with torch.no_grad():
        for images in (black, grey, mixed):
            context = backbone.encode(images, TEXTS[:2], torch.zeros(2, 1, 1))
            assert context.tokens.isfinite().all()


def test_film_starts_as_nothing_and_then_listens():
    plain, film = build("prismatic"), build("prismatic", film=True)
    shared = {k: v for k, v in film.state_dict().items() if "films" not in k}
    plain.load_state_dict(shared)
    torch.testing.assert_close(encode(film).tokens, encode(plain).tokens, **NEAR)
    with torch.no_grad():
        for weight in film.tower.films.parameters():
            weight.normal_(std=0.1)
        pixels = torch.rand(1, 3, 70, 70)
        first, second = (film.tower(pixels, words)[0] for words in torch.randn(2, 1, 96))
    assert not torch.allclose(first, second, atol=1e-4)
    film.train()
    film.encode(make_images(40, 3), TEXTS, torch.zeros(3, 1, 1)).tokens.sum().backward()
    assert all(weight.grad is not None for weight in film.tower.films.parameters())


def test_wrong_choices_are_refused(kind, tmp_path):
    with pytest.raises(UnknownChoice, match="tiny"):
        build(kind, size="giant")
    with pytest.raises(UnknownChoice, match="wrist"):
        CONFIGS[kind](cameras=["wrist"]).build(make_body(40), history=1)
    with pytest.raises(ConfigError, match="images"):
        build(kind, prompt="{instruction}")
    with pytest.raises(ConfigError, match="state"):
        build(kind, prompt="{images}{instruction} {state}")
    with pytest.raises(CheckpointError, match="no such folder"):
        build(kind, name=str(tmp_path / "absent"))
    assert set(MODULES[kind].SIZES) > {"tiny"}


def test_another_family_is_refused(tmp_path):
    save_paligemma(tmp_path / "paligemma")
    with pytest.raises(CheckpointError, match="'paligemma'; SmolvlmConfig takes smolvlm"):
        build("smolvlm", name=str(tmp_path / "paligemma"))


def test_too_many_tokens_for_a_sliding_window(tmp_path):
    save_paligemma(tmp_path, second=True)
    with pytest.raises(ShapeError, match="window of 64"):
        encode(build("paligemma", name=str(tmp_path), cameras=CAMERAS), cameras=CAMERAS)


def test_out_of_contract_observations_are_refused(kind):
    backbone = build(kind, cameras=CAMERAS)
    images = make_images(40, 1, CAMERAS)
    with pytest.raises(EmbodimentMismatch, match="wrist"):
        backbone.encode({"front": images["front"]}, ["go"], torch.zeros(1, 1, 1))
    with pytest.raises(ShapeError, match="<image>"):
        backbone.encode(images, ["take the <image>"], torch.zeros(1, 1, 1))


def test_saved_weights_are_all_of_it(tmp_path):
    """Also of a model with an output layer of its own (safetensors refuses shared tensors)."""
    from safetensors.torch import load_file, save_file

    save_qwen3(tmp_path / "qwen")
    backbone = build("qwen_vl", name=str(tmp_path / "qwen"), image_size=96)
    save_file(backbone.state_dict(), tmp_path / "weights.safetensors")
    other = build("qwen_vl", name=str(tmp_path / "qwen"), image_size=96, seed=7)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(encode(backbone).pooled, encode(other).pooled)
