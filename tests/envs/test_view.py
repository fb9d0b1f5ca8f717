"""Pictures looked at late show the instant of their observation, whatever happened since."""

import numpy as np
import pytest

from envs.config import TabletopConfig
from envs.experts import EXPERTS
from vla.errors import ContractError


def watch(world, expert, *, eager, seed=1, after=2):
    """All observations of an episode of the expert, and of the first ticks of another scene."""
    seen = []

    def keep(observation):
        seen.append(dict(observation.images) if eager else observation.images)

    keep(world.reset(seed=seed))
    while not world.outcome().ended:
        action = expert(world.scene_state(), world.assignment)
        keep(world.step(world.express(action)))
    keep(world.reset(seed=seed + 1))
    for _ in range(after):
        keep(world.step(world.still()))
    return seen


@pytest.mark.parametrize("perturbation", ["", "light:4", "sensor_noise:3"])
def test_late_looks_equal_early_ones_through_lamps_edits_and_resets(perturbation):
    """Pressed buttons light lamps and each scene has other colours: both change the model."""
    config = TabletopConfig(tasks=["button"], image_size=32, perturbation=perturbation)
    world = config.build("button")
    early = watch(world, EXPERTS["button"], eager=True)
    late = watch(world, EXPERTS["button"], eager=False)
    drawn = [pictures.drawn for pictures in late]
    assert not all(drawn)
    assert not drawn[-1]
    for tick, (one, other) in enumerate(zip(early, late, strict=True)):
        for name in one:
            np.testing.assert_array_equal(other[name], one[name], err_msg=f"{name}, tick {tick}")
    world.close()


def test_nobody_looks_nothing_is_drawn_and_after_closing_it_is_too_late():
    world = TabletopConfig(tasks=["reach"], image_size=32).build("reach")
    seen = world.reset(seed=0)
    for _ in range(3):
        seen = world.step(world.still())
    assert not seen.images.drawn
    assert not world._view._renderers
    world.close()
    with pytest.raises(ContractError, match="closed before anybody looked"):
        seen.images["front"]
