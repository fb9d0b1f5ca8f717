"""Other words, same scene."""

import numpy as np
import pytest

from envs.config import TabletopConfig


def test_only_the_words_change():
    worlds = {
        kind: TabletopConfig(instruction=kind).build("place")
        for kind in ("given", "blank", "swapped")
    }
    seen = {kind: world.reset(seed=8) for kind, world in worlds.items()}
    up = np.array([0, 0, 0.02, 0, 0, 0, 1], np.float32)
    later = {kind: world.step(up) for kind, world in worlds.items()}
    for kind, world in worlds.items():
        np.testing.assert_array_equal(seen[kind].images["front"], seen["given"].images["front"])
        np.testing.assert_array_equal(seen[kind].state, seen["given"].state)
        assert later[kind].instruction == seen[kind].instruction
        assert world.progress() == pytest.approx(worlds["given"].progress())
        np.testing.assert_array_equal(world.labels()["goal"], worlds["given"].labels()["goal"])
    for kind, world in worlds.items():
        world.command(up)
        world.advance(0.05)
        assert world.observe().instruction == seen[kind].instruction
    assert seen["blank"].instruction == ""
    assignment = worlds["given"].assignment
    assert seen["given"].instruction == assignment.instruction
    assert assignment.thing.name not in seen["swapped"].instruction
    assert assignment.layout.pads[assignment.pad].name not in seen["swapped"].instruction
    for world in worlds.values():
        world.close()
