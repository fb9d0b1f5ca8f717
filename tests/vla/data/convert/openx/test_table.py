"""The contract of every data set in the table, on a folder made from its own declaration."""

from pathlib import Path

import numpy as np
import pytest

from vla.data.admission import check_trajectory
from vla.data.convert.config import OpenXConfig
from vla.data.convert.conversion import convert
from vla.data.convert.openx.table import RECIPES, format_table
from vla.errors import DataError, UnknownChoice

PAGE = Path(__file__).parents[5] / "docs/openx.md"
LENGTH = 5
every = pytest.mark.parametrize("name", sorted(RECIPES))


def _source(folder, name, **options):
    return OpenXConfig(dataset=name, path=str(folder), **options).build()


@every
def test_an_episode_is_told_as_declared(tmp_path, maker, name):
    recipe = RECIPES[name]
    content = maker.episode(recipe, LENGTH)
    source = _source(maker.write(tmp_path / "toy", recipe, [[content]]), name)
    (pending,) = source
    trajectory = pending.read()
    check_trajectory(trajectory, source.embodiment, optional=None, name=name)
    rows = slice(1, -1) if recipe.edit else slice(None)
    assert len(trajectory) == len(range(LENGTH)[rows])
    np.testing.assert_allclose(np.diff(trajectory.time), 1 / recipe.hz)
    assert trajectory.instruction == "put the cup on the plate"
    assert trajectory.subtasks == ()
    for key, ours in recipe.cameras.items():
        assert trajectory.images[ours] == content[f"steps/observation/{key}"][rows]
    for index, axis in enumerate(source.embodiment.action):
        if axis.name == "gripper":
            assert axis.mode == "absolute"
            assert 0 <= trajectory.action[:, index].min() <= trajectory.action[:, index].max() <= 1


@pytest.mark.parametrize("name", sorted(name for name in RECIPES if not RECIPES[name].edit))
def test_what_is_a_step_already_is_not_differenced_again(tmp_path, maker, name):
    """Also: nothing but the declared change touches a number."""
    recipe = RECIPES[name]
    content = maker.episode(recipe, LENGTH)
    (pending,) = _source(maker.write(tmp_path / "toy", recipe, [[content]]), name)
    action, column = pending.read().action, 0
    for part in recipe.action:
        values = action[:, column : column + len(part.axes)]
        column += len(part.axes)
        if not part.field:
            assert (values == part.constant).all()
        elif part.change is None:
            stored = content[f"steps/{part.field}"].reshape(LENGTH, -1)
            stored = stored[:, part.start : part.start + len(part.axes)]
            assert values.tobytes() == stored.astype(np.float32).tobytes()


@every
def test_a_missing_field_is_named(tmp_path, maker, name):
    recipe = RECIPES[name]
    keys = {part.field for part in recipe.parts} | {recipe.language[0]}
    keys |= {f"observation/{camera}" for camera in recipe.cameras}
    for number, key in enumerate(sorted(keys)):
        content = maker.episode(recipe, LENGTH)
        del content[f"steps/{key}"]
        (pending,) = _source(maker.write(tmp_path / f"{number}", recipe, [[content]]), name)
        with pytest.raises(DataError, match=rf"record 0: lacks step feature '{key}'"):
            pending.read()


@every
def test_another_shape_is_refused_before_reading(tmp_path, maker, name):
    recipe = RECIPES[name]
    part = recipe.action[0]
    maker.shapes = {part.field: (*part.shape[:-1], 3 + sum(part.shape))}
    folder = maker.write(tmp_path / "toy", recipe, [[]])
    with pytest.raises(DataError, match=rf"'{part.field}' is of shape"):
        _source(folder, name)


@every
def test_seven_axes_or_joints(name):
    """Every arm with a tool pose commands the same seven axes, so that they can be mixed."""
    axes = [axis for part in RECIPES[name].action for axis in part.axes]
    assert len({axis.name for axis in axes}) == len(axes)
    if not name.startswith("aloha"):
        assert len(axes) == 7
        assert axes[-1].name == "gripper"
        assert len({axis.mode for axis in axes[:6]}) == 1


def test_the_page_shows_the_table():
    assert format_table() in PAGE.read_text(), (
        "docs/openx.md is out of date; replace its table by what "
        "vla.data.convert.openx.table.format_table() returns."
    )


def test_only_bridge_is_said_to_be_checked():
    """A recipe may say so only once real files are tested, as test_bridge.py does."""
    assert {name for name, r in RECIPES.items() if r.checked} == {"bridge_orig", "bridge_dataset"}


def test_a_whole_conversion(tmp_path, maker):
    recipe = RECIPES["kuka"]
    shards = [
        [maker.episode(recipe, 3, 0), maker.episode(recipe, 4, 1)],
        [maker.episode(recipe, 2)],
    ]
    folder = maker.write(tmp_path / "toy", recipe, shards)
    store = convert(_source(folder, "kuka"), tmp_path / "out")
    assert store.episode_ends.tolist() == [3, 7, 9]
    assert store.embodiment.gripper == "open_is_one"
    assert store.provenance["converter"] == "kuka"


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UnknownChoice, match="Did you mean 'droid'"):
        OpenXConfig(dataset="droit", path=str(tmp_path)).build()
