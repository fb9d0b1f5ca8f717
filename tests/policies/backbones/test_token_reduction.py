import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.backbones.config import TinyConfig
from policies.backbones.language_config import ReducedConfig
from policies.backbones.token_reduction import draw, merge, pool_cells
from tests.policies.backbones.language_samples import CONFIGS, TEXTS, make_body, make_images
from vla.errors import ConfigError


def build(inner, **options):
    torch.manual_seed(0)
    config = ReducedConfig(inner=inner, **options)
    return config.build(make_body(40), history=1, readouts=1)


def encode(backbone, seed=0, size=3):
    return backbone.encode(make_images(40, size, seed=seed), TEXTS[:size], torch.zeros(size, 1, 1))


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_every_tower_may_say_less(kind):
    torch.manual_seed(0)
    whole = CONFIGS[kind]().build(make_body(40), history=1)
    reduced = build(CONFIGS[kind](), keep=4).eval()
    patches = whole.tower.grid[0] * whole.tower.grid[1]
    with torch.no_grad():
        few, many = encode(reduced), encode(whole.eval())
    assert many.tokens.shape[1] - few.tokens.shape[1] == patches - 4
    assert few.prefix.mask.shape == few.mask.shape
    assert {name for name, _ in reduced.named_parameters() if "tower" in name} == {
        name.replace("tower.", "tower.inner.") for name, _ in whole.named_parameters()
        if "tower" in name
    }  # fmt: skip


def test_pooling_to_the_same_size_changes_nothing():
    tokens = torch.randn(2, 36, 8)
    assert torch.equal(pool_cells(tokens, (6, 6), 6), tokens)
    torch.testing.assert_close(pool_cells(tokens, (6, 6), 1)[:, 0], tokens.mean(dim=1))
    corner = tokens.view(2, 6, 6, 8)[:, :3, 3:].mean(dim=(1, 2))
    torch.testing.assert_close(pool_cells(tokens, (6, 6), 2)[:, 1], corner)


def test_training_draws_scales_and_acting_does_not():
    backbone = build(CONFIGS["paligemma"](), keep=9, scales=[1, 4, 9, 36]).train()
    counts = [encode(backbone, seed).tokens.shape[1] for seed in range(24)]
    assert len(set(counts)) == 4
    assert counts == [encode(backbone, seed).tokens.shape[1] for seed in range(24)]
    backbone.eval()
    assert len({encode(backbone, seed).tokens.shape[1] for seed in range(4)}) == 1


def test_draws_are_even():
    picked = [draw(torch.full((1, 3, 4, 4), k / 255), 4) for k in range(256)]
    assert min(picked.count(choice) for choice in range(4)) > 40


@given(patches=st.integers(2, 30), keep=st.integers(1, 30), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_merging_keeps_the_mean_and_each_sample_alone(patches, keep, seed):
    tokens = torch.randn(3, patches, 4, generator=torch.Generator().manual_seed(seed)).double()
    merged = merge(tokens, keep)
    assert merged.shape == (3, min(keep, patches), 4)
    torch.testing.assert_close(merge(tokens[1:2], keep), merged[1:2])
    if keep == 1:
        torch.testing.assert_close(merged[:, 0], tokens.mean(dim=1))


def test_merging_puts_equal_tokens_together():
    kinds = torch.eye(4)[[0, 0, 1, 1, 2, 2, 3, 3]]
    assert torch.allclose(merge(kinds[None], 4)[0], torch.eye(4))
    backbone = build(CONFIGS["prismatic"](), method="merge", keep=7)
    context = encode(backbone)
    context.tokens.sum().backward()
    assert backbone.tower.projector.fc1.weight.grad.any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="inner is tiny"):
        ReducedConfig(inner=TinyConfig()).build(make_body(40), history=1)
    with pytest.raises(ConfigError, match="no square"):
        ReducedConfig(keep=8)
    with pytest.raises(ConfigError, match="36 per picture"):
        build(CONFIGS["paligemma"](), keep=49)
    with pytest.raises(ConfigError, match="rows and columns"):
        build(CONFIGS["qwen_vl"](), method="merge", keep=4)
    with pytest.raises(ConfigError, match="scales"):
        ReducedConfig(method="merge", scales=[4])
    with pytest.raises(ConfigError, match="No backbone"):
        ReducedConfig().build(make_body(40), history=1)
