"""What the generic source does besides the table's contract."""

import imagecodecs
import numpy as np
import pytest

from vla.data.convert.bridge import COMMANDED
from vla.data.convert.config import BridgeConfig, OpenXConfig
from vla.data.convert.openx.table import RECIPES
from vla.errors import ConfigError, DataError, UnknownChoice
from vla.types import Subtask

DROID, LIBERO = RECIPES["droid"], RECIPES["libero_goal_no_noops"]


def _read(maker, folder, name, content, **options):
    path = maker.write(folder, RECIPES[name], [[content]])
    source = OpenXConfig(dataset=name, path=str(path), **options).build()
    (pending,) = source
    return source, pending.read()


def test_several_instructions_become_subtasks(tmp_path, maker):
    content = maker.episode(DROID, 5)
    content["steps/language_instruction"] = [b"", b"open", b"open", b"close", b"close"]
    _, trajectory = _read(maker, tmp_path / "toy", "droid", content)
    assert trajectory.instruction == "open"
    assert trajectory.subtasks == (
        Subtask(start=1, stop=3, text="open"),
        Subtask(start=3, stop=5, text="close"),
    )


def test_the_first_feature_with_words_counts(tmp_path, maker):
    content = maker.episode(DROID, 3)
    content["steps/language_instruction"] = [b""] * 3
    content["steps/language_instruction_2"] = [b"wipe"] * 3
    _, trajectory = _read(maker, tmp_path / "toy", "droid", content)
    assert trajectory.instruction == "wipe"


@pytest.mark.parametrize("value", [[b"caf\xe9"] * 3, [b"ok", b"ok", b"\xff"]])
def test_words_must_be_utf8(tmp_path, maker, value):
    content = maker.episode(DROID, 3) | {"steps/language_instruction": value}
    with pytest.raises(DataError, match=r"record 0: 'language_instruction' is not UTF-8"):
        _read(maker, tmp_path / "toy", "droid", content)


def test_code_points_must_be_text(tmp_path, maker):
    content = maker.episode(RECIPES["language_table"], 3)
    content["steps/observation/instruction"][:2] = [0xD800, 1 << 40]
    with pytest.raises(DataError, match="is not UTF-8 text"):
        _read(maker, tmp_path / "toy", "language_table", content)


def test_packed_state_is_unpacked(tmp_path, maker):
    content = maker.episode(RECIPES["kuka"], 3)
    _, trajectory = _read(maker, tmp_path / "toy", "kuka", content)
    packed = content["steps/observation/clip_function_input/base_pose_tool_reached"]
    raw = b"".join(imagecodecs.zlib_decode(step) for step in packed)
    assert trajectory.state[:, :7].tobytes() == raw


@pytest.mark.parametrize(
    "step",
    [
        b"not zlib",
        imagecodecs.zlib_encode(b"1234")[:-3],
        imagecodecs.zlib_encode(b"12"),
        imagecodecs.zlib_encode(bytes(10**6)),
    ],
)
def test_damaged_packed_state_is_named(tmp_path, maker, step):
    content = maker.episode(RECIPES["kuka"], 3)
    content["steps/observation/gripper_closed"][1] = step
    with pytest.raises(DataError, match=r"record 0 at byte 0: 'steps/observation/gripper_closed'"):
        _read(maker, tmp_path / "toy", "kuka", content)


def test_png_pictures_are_decoded(tmp_path, maker):
    maker.encoding = ""  # the first releases do not declare it
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    content = maker.episode(RECIPES["toto"], 3)
    content["steps/observation/image"] = [imagecodecs.png_encode(frame) for frame in pixels]
    _, trajectory = _read(maker, tmp_path / "toy", "toto", content)
    np.testing.assert_array_equal(trajectory.images["front"], pixels)
    content["steps/observation/image"][1] = b"\x89PNG and nothing"
    with pytest.raises(DataError, match="damaged PNG"):
        _read(maker, tmp_path / "bad", "toto", content)


def test_turned_pictures_show_in_the_contract(tmp_path, maker):
    """An evaluation that does not turn its pictures is refused by the embodiment."""
    source, _ = _read(maker, tmp_path / "toy", "libero_goal_no_noops", maker.episode(LIBERO, 3))
    assert all(c.source.endswith(":rot180") for c in source.embodiment.cameras.values())
    assert source.embodiment.rotation == "rotvec"
    assert [a.name for a in source.embodiment.state[-2:]] == ["finger_left", "finger_right"]


def test_idle_steps_are_left_out_but_not_a_grasp(tmp_path, maker):
    content = maker.episode(DROID, 4)
    velocity = np.zeros((4, 6), np.float32)
    velocity[0] = 0.5
    content["steps/action_dict/cartesian_velocity"] = velocity.ravel()
    content["steps/action_dict/gripper_position"] = np.array([0, 0, 1, 1], np.float32)
    frames = content["steps/observation/wrist_image_left"]
    source, trajectory = _read(maker, tmp_path / "toy", "droid", content, drop_idle=True)
    assert trajectory.images["wrist"] == [frames[0], frames[2]]
    assert trajectory.action[:, 6].tolist() == [1, 0]
    assert source.provenance["drop_idle"] is True


def test_idle_is_undefined_for_joint_targets(tmp_path, maker):
    recipe = RECIPES["aloha_static"]
    with pytest.raises(ConfigError, match="drop_idle"):
        _read(maker, tmp_path / "toy", "aloha_static", maker.episode(recipe, 3), drop_idle=True)


def test_cameras_can_be_chosen(tmp_path, maker):
    content = maker.episode(DROID, 3)
    source, trajectory = _read(
        maker, tmp_path / "a", "droid", content, cameras={"wrist_image_left": "hand"}
    )
    assert set(trajectory.images) == set(source.embodiment.cameras) == {"hand"}
    with pytest.raises(UnknownChoice, match="wrist_image_left"):
        _read(maker, tmp_path / "b", "droid", content, cameras={"wrist": "hand"})


def test_bridge_in_its_two_tellings(tmp_path, maker):
    """The commanded one keeps every bit, the relabelled one drops two steps."""
    content = maker.episode(COMMANDED, 5)
    content["steps/action"] = np.abs(content["steps/action"]) / 3
    folder = str(maker.write(tmp_path / "toy", COMMANDED, [[content]]))
    (commanded,) = BridgeConfig(path=folder).build()
    (relabelled,) = OpenXConfig(dataset="bridge_orig", path=folder).build()
    assert commanded.read().action.tobytes() == content["steps/action"].tobytes()
    assert len(relabelled.read()) == 3
    assert set(relabelled.read().action[:, 6]) <= {0, 1}
