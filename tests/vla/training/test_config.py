import pytest

from vla.errors import ConfigError, UnknownChoice
from vla.training.config import TrainingConfig


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"learning_rate": 0.0}, {"ema_decay": 1.0}, {"betas": [0.9]}, {"keep": 0},
     {"learning_rate_floor": 1.5}, {"time_limit_s": 0.0}, {"accumulate": 0}, {"seed": -1}],
)  # fmt: skip
def test_values_out_of_range_are_named(change):
    (name,) = change
    with pytest.raises(ConfigError, match=rf"training\.{name} is"):
        TrainingConfig(**change)


def test_warmup_must_fit_into_the_run():
    with pytest.raises(ConfigError, match=r"below training.steps \(100\)"):
        TrainingConfig(steps=100, warmup_steps=100)


@pytest.mark.parametrize(
    ("change", "near"),
    [({"precision": "bfloat61"}, "bfloat16"), ({"trackers": ["jsonl", "wandbb"]}, "wandb")],
)
def test_unknown_names_get_a_suggestion(change, near):
    with pytest.raises(UnknownChoice, match=f"Did you mean '{near}'"):
        TrainingConfig(**change)
