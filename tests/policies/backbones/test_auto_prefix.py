"""What AutoBackbone offers of a plain language model: prefix, language, readouts."""

import pytest
import torch

from policies.backbones.config import AutoBackboneConfig
from policies.backbones.interface import Prefix
from tests.policies.backbones.language_samples import make_body, make_images
from tests.policies.test_auto import SAVERS
from vla.errors import ConfigError

TEXTS = ["pick up the red cube and put it into the bowl", "put it"]


def build(path, **options):
    torch.manual_seed(0)
    config = AutoBackboneConfig(name=str(path), **options)
    return config.build(make_body(40), history=1, readouts=3).eval()


def encode(backbone, text):
    state = torch.full((1, 1, 1), 0.5)
    with torch.no_grad():
        return backbone.encode(make_images(40, 1), [text], state)


@pytest.mark.parametrize("kind", ["idefics3", "llava", "smolvlm"])
def test_extend_goes_on_behind_the_prompt(kind, tmp_path):
    """The end of a prompt, cut off and read again, is what it was."""
    SAVERS[kind](tmp_path)
    backbone = build(tmp_path)
    context, end = encode(backbone, TEXTS[0]), 3
    prefix = context.prefix
    cut = Prefix(
        layers=tuple((key[:, :, :-end], value[:, :, :-end]) for key, value in prefix.layers),
        mask=prefix.mask[:, :-end],
        positions=prefix.positions[:, :-end],
    )
    frames = make_images(40, 1)
    ids = backbone._prepare(frames, TEXTS[:1], torch.device("cpu"))["input_ids"][:, -end:]
    with torch.no_grad():
        hidden, longer = context.language.extend(context.language.embed(ids), cut)
    torch.testing.assert_close(hidden, context.tokens[:, -end - 1 : -1], atol=1e-5, rtol=1e-5)
    assert torch.equal(longer.positions, prefix.positions)
    assert backbone.shape.language.layers == len(prefix.layers)
    logits = backbone.model.get_output_embeddings()(hidden)
    torch.testing.assert_close(context.language.score(hidden), logits)


@pytest.mark.parametrize("kind", ["idefics3", "llava", "paligemma", "smolvlm"])
def test_readouts_learn_also_behind_a_frozen_model(kind, tmp_path):
    SAVERS[kind](tmp_path)
    backbone = build(tmp_path)
    context = backbone.encode(make_images(40, 2), TEXTS, torch.zeros(2, 1, 1))
    assert context.readouts.shape == (2, 3, backbone.dim)
    context.readouts.sum().backward()
    assert backbone._readouts.grad.any()


def test_paligemma_counts_from_one(tmp_path):
    SAVERS["paligemma"](tmp_path)
    assert encode(build(tmp_path), TEXTS[0]).prefix.positions[0, :3].tolist() == [1, 2, 3]


def test_positions_along_pictures_are_not_plain(tmp_path):
    SAVERS["qwen2_vl"](tmp_path)
    with pytest.raises(ConfigError, match="'qwen2_vl_text'"):
        build(tmp_path)
    config = AutoBackboneConfig(name=str(tmp_path))
    backbone = config.build(make_body(40), history=1)
    assert backbone.shape.language is None
    assert encode(backbone, TEXTS[0]).prefix is None
