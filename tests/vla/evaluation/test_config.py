import pytest

from vla.errors import ConfigError
from vla.evaluation.config import EVALUATION_SEEDS, EvaluationConfig, split_axis


def test_seeds_never_meet_those_of_demonstrations():
    seeds = EvaluationConfig(episodes=3).list_seeds()
    assert seeds == [EVALUATION_SEEDS, EVALUATION_SEEDS + 1, EVALUATION_SEEDS + 2]
    with pytest.raises(ConfigError, match="belong to demonstrations"):
        EvaluationConfig(first_seed=7)


@pytest.mark.parametrize(
    "options",
    [
        {"episodes": 0},
        {"videos": -1},
        {"batch": 0},
        {"conditions": ["gievn"]},
        {"conditions": []},
        {"conditions": ["given", "light:6"]},
        {"conditions": ["light:3"]},
        {"conditions": ["axes"]},
        {"conditions": ["given", "given"]},
    ],
)
def test_nonsense_is_refused(options):
    with pytest.raises(ConfigError):
        EvaluationConfig(**options)


def test_axes_are_named_by_form():
    EvaluationConfig(conditions=["given", "light:3", "axes:2", "axes"])
    assert split_axis("object_swap:5") == ("object_swap", 5)
    with pytest.raises(ConfigError, match="light:3"):
        split_axis("given")
