import pytest

from policies.backbones.config import AutoBackboneConfig, BackboneConfig, TinyConfig
from policies.config import PolicyConfig, VlaPolicyConfig
from policies.heads.config import (
    DiffusionConfig,
    FlowConfig,
    HeadConfig,
    RegressionConfig,
    TokensConfig,
)
from tests.policies.samples import EMBODIMENT, TINY, statistics
from vla.errors import ConfigError, UnknownChoice


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TinyConfig(width=0), "width"),
        (lambda: TinyConfig(width=100, attention_heads=8), "width=96"),
        (lambda: TinyConfig(blocks=0), "blocks"),
        (lambda: FlowConfig(steps=0), "steps"),
        (lambda: FlowConfig(width=30), "attention_heads"),
        (lambda: DiffusionConfig(steps=200), "train_steps"),
        (lambda: DiffusionConfig(clip=-1.0), "clip"),
        (lambda: TokensConfig(bound=-1.0), "bound"),
        (lambda: RegressionConfig(width=0), "width"),
        (lambda: VlaPolicyConfig(horizon=0), "horizon"),
        (lambda: VlaPolicyConfig(state_noise=-0.1), "state_noise"),
        (lambda: VlaPolicyConfig(grounding_weight=-1.0), "grounding_weight"),
    ],
)
def test_senseless_numbers_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "near"),
    [
        (lambda: FlowConfig(time_sampling="betta"), "'beta'"),
        (lambda: DiffusionConfig(prediction="eps"), "'epsilon'"),
        (lambda: VlaPolicyConfig(normalization="quantiles"), "'quantile'"),
        (lambda: AutoBackboneConfig(dtype="float"), "'float32'"),
    ],
)
def test_unknown_names_get_a_suggestion(make, near):
    with pytest.raises(UnknownChoice, match=f"Did you mean {near}"):
        make()


def test_unchosen_parts_say_so():
    with pytest.raises(ConfigError, match="No policy is chosen"):
        PolicyConfig().build(EMBODIMENT, None)
    with pytest.raises(ConfigError, match="No backbone is chosen"):
        VlaPolicyConfig(head=RegressionConfig(), backbone=BackboneConfig()).build(
            EMBODIMENT, statistics()
        )
    with pytest.raises(ConfigError, match="No head is chosen"):
        VlaPolicyConfig(head=HeadConfig(), backbone=TINY).build(EMBODIMENT, statistics())
