"""robomimic and LIBERO: files in their exact layouts, and the mistakes others made with them."""

import json

import h5py
import numpy as np
import pytest

from vla.data.convert.config_arrays import LiberoConfig, RobomimicConfig
from vla.data.convert.conversion import convert
from vla.errors import ConfigError, DataError, UnknownChoice

ENV = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20, "robots": ["Panda"]}}
WORDS = "put the bowl on the plate"


def actions(length, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.uniform(-0.9, 0.9, (length, 7))
    values[:, 6] = np.where(np.arange(length) < length // 2, -1.0, 1.0)  # opens, then closes
    return values


def corners(length, size=16):
    """Pictures whose quadrants are red (top left), green (top right), blue and white below."""
    picture = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    picture[:half, :half, 0] = picture[:half, half:, 1] = picture[half:, :half, 2] = 255
    picture[half:, half:] = 255
    return np.repeat(picture[None], length, axis=0)


def write_libero(path, lengths=(3, 4), *, words=WORDS, env=ENV, change=None):
    """As LIBERO's create_dataset.py leaves it, pictures in OpenGL's order of rows."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(env)
        if words is not None:
            info = {"problem_name": "kitchen", "language_instruction": words}
            data.attrs["problem_info"] = json.dumps(info)
        for number, length in enumerate(lengths):
            rng = np.random.default_rng(number)
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = length
            demo["actions"] = actions(length, number)
            demo["states"] = rng.normal(size=(length, 20))
            demo["rewards"] = np.eye(1, length, length - 1, dtype=np.uint8)[0]
            demo["dones"] = demo["rewards"][:]
            obs = demo.create_group("obs")
            for key, width in (("ee_pos", 3), ("ee_ori", 3), ("gripper_states", 2)):
                obs[key] = rng.normal(size=(length, width))
            obs["agentview_rgb"] = corners(length)[:, ::-1]
            obs["eye_in_hand_rgb"] = corners(length)[:, ::-1]
        if change is not None:
            change(data)
    return path


def write_robomimic(path, lengths=(3,)):
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(ENV)
        for number, length in enumerate(lengths):
            demo = data.create_group(f"demo_{number}")
            demo["actions"] = actions(length, number)
            obs = demo.create_group("obs")
            for key, width in (("eef_pos", 3), ("eef_quat", 4), ("gripper_qpos", 2)):
                obs[f"robot0_{key}"] = np.arange(length * width).reshape(length, width) / 100
            obs["agentview_image"] = corners(length)
    return path


def libero(path, **options):
    return LiberoConfig(path=str(path), **options).build()


def read(source):
    return [pending.read() for pending in source]


def test_numbers_words_and_success_are_the_files(tmp_path):
    path = write_libero(tmp_path / "a.hdf5")
    store = convert(libero(path), tmp_path / "out", codec="zstd")
    assert store.instructions == [WORDS, WORDS]
    with h5py.File(path) as file:
        for index in range(2):
            demo, episode = file["data"][f"demo_{index}"], store.episode(index)
            arm = demo["actions"][:, :6].astype(np.float32)
            assert episode.action[:, :6].tobytes() == arm.tobytes()
            keys = ("ee_pos", "ee_ori", "gripper_states")
            state = np.concatenate([demo["obs"][k][:] for k in keys], axis=1)
            assert episode.state.tobytes() == state.astype(np.float32).tobytes()
            assert episode.success is True
            np.testing.assert_array_equal(episode.time, np.arange(len(episode)) / 20)
    assert store.embodiment.rotation == "rotvec"
    assert store.provenance["env_args"] == ENV


def test_gripper_is_one_when_open(tmp_path):
    episode = read(libero(write_libero(tmp_path / "a.hdf5", (4,))))[0]
    assert episode.action[:, 6].tolist() == [1, 1, 0, 0]
    source = libero(write_libero(tmp_path / "b.hdf5", (4,)), flip_gripper=False)
    assert read(source)[0].action[:, 6].tolist() == [-1, -1, 1, 1]
    assert source.embodiment.gripper == "none"


def test_pictures_are_upright(tmp_path):
    """rot180 as the public copies have it: sky on top, left and right swapped; flip: the truth."""
    path, true = write_libero(tmp_path / "a.hdf5", (2,)), corners(2)
    turned = read(libero(path))[0].images["front"]
    np.testing.assert_array_equal(turned, true[:, :, ::-1])
    np.testing.assert_array_equal(read(libero(path, images="flip"))[0].images["front"], true)
    raw = read(libero(path, images="as_is"))[0].images["wrist"]
    np.testing.assert_array_equal(raw, true[:, ::-1])
    assert libero(path).embodiment.cameras["front"].source == "libero:agentview_rgb:rot180"


def test_demonstrations_come_in_the_order_of_their_numbers(tmp_path):
    source = libero(write_libero(tmp_path / "a.hdf5", tuple(range(1, 13))))
    assert [len(episode) for episode in read(source)] == list(range(1, 13))


def test_fingers_have_names_of_their_own(tmp_path):
    names = [a.name for a in libero(write_libero(tmp_path / "a.hdf5")).embodiment.state]
    assert names == ["x", "y", "z", "rx", "ry", "rz", "finger_left", "finger_right"]


def test_noops_need_stillness_and_an_unchanged_gripper(tmp_path):
    def still(data):
        rows = np.zeros((6, 7))
        rows[:, 6] = [-1, -1, 1, 1, 1, -1]
        rows[1, 0] = rows[4, 3] = 0.5
        data["demo_0/actions"][...] = rows

    path = write_libero(tmp_path / "a.hdf5", (6,), change=still)
    assert len(read(libero(path))[0]) == 6
    episode = read(libero(path, drop_noops=True))[0]
    # 0: still, nothing before it; 2: the gripper closes; 3: still; 5: it opens
    np.testing.assert_allclose(episode.time * 20, [1, 2, 4, 5])
    assert episode.source["dropped"] == 2


def test_a_folder_is_a_suite_with_one_task_per_file(tmp_path):
    write_libero(tmp_path / "task_10.hdf5", (2,), words="ten")
    write_libero(tmp_path / "task_9.hdf5", (2, 2), words=["ni", "ne"])
    source = libero(tmp_path)
    assert len(source) == 3
    assert [episode.instruction for episode in read(source)] == ["nine", "nine", "ten"]
    assert read(libero(tmp_path, instruction="mine"))[0].instruction == "mine"


def test_robomimics_own_files(tmp_path):
    path = write_robomimic(tmp_path / "image.hdf5")
    source = RobomimicConfig(path=str(path), instruction="lift the cube").build()
    episode = read(source)[0]
    np.testing.assert_array_equal(episode.images["agentview_image"], corners(3))
    quaternion = np.arange(12, dtype=np.float32).reshape(3, 4) / np.float32(100)
    np.testing.assert_allclose(episode.state[:, 3:7], quaternion[:, [3, 0, 1, 2]])
    assert [a.name for a in source.embodiment.state][3:7] == ["qw", "qx", "qy", "qz"]
    assert episode.success is None
    with pytest.raises(DataError, match=r"source\.instruction"):
        read(RobomimicConfig(path=str(path)).build())


def test_two_arms_and_absolute_poses(tmp_path):
    path = write_robomimic(tmp_path / "two.hdf5", (4,))
    with h5py.File(path, "a") as file:
        demo = file["data/demo_0"]
        both = np.concatenate([demo["actions"][:], 3 * demo["actions"][:][::-1]], axis=1)
        del demo["actions"]
        demo["actions"] = both
        demo["obs/robot1_eef_pos"] = np.ones((4, 3))
        demo["obs/agentview_depth"] = np.ones((4, 16, 16, 1), np.float32)
    options = {"path": str(path), "instruction": "hand it over", "mode": "absolute"}
    made = RobomimicConfig(**options, state=["robot0_eef_pos", "robot1_eef_pos"]).build()
    body, episode = made.embodiment, read(made)[0]
    assert [a.name for a in body.state] == ["x", "y", "z", "robot1_x", "robot1_y", "robot1_z"]
    assert [a.name for a in body.action][6:8] == ["gripper", "robot1_x"]
    assert {(a.unit, a.mode) for a in body.action[:3]} == {("m", "absolute")}
    assert episode.action[:, 6].tolist() == [1, 1, 0, 0]
    assert episode.action[:, 13].tolist() == [0, 0, 1, 1]
    assert set(episode.images) == {"agentview_image"}  # depth is no picture


def _replace(key, values):
    def change(data):
        del data[key]
        if values is not None:
            data[key] = values

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_replace("demo_1/actions", None), "demo_1 lacks 'actions'"),
        (_replace("demo_1/obs/ee_pos", None), "demo_1 lacks 'ee_pos'; it has: .*ee_ori"),
        (_replace("demo_1/actions", np.zeros((4, 6))), r"demo_1, actions has shape \(4, 6\)"),
        (_replace("demo_1/obs/ee_ori", np.zeros((5, 3))), "different lengths: actions 4.*ee_ori 5"),
        (_replace("demo_1/obs/ee_ori", np.array([[b"a"] * 3] * 4)), "no numbers"),
        (_replace("demo_1/obs/agentview_rgb", np.full((4, 16, 16, 3), 0.5)), "scale is unknown"),
    ],
)
def test_a_bad_demonstration_is_named_and_can_be_skipped(tmp_path, change, words):
    path = write_libero(tmp_path / "a.hdf5", (3, 4, 5), change=change)
    with pytest.raises(DataError, match=words):
        convert(libero(path), tmp_path / "out")
    store = convert(libero(path), tmp_path / "out", skip_bad=True)
    assert store.episode_ends.tolist() == [3, 8]
    assert store.provenance["skipped"][0]["episode"] == f"{path}, demo_1"


def test_a_file_cut_short_does_not_stop_the_others(tmp_path):
    path = write_libero(tmp_path / "task_0.hdf5")
    path.write_bytes(path.read_bytes()[:-900])
    write_libero(tmp_path / "task_1.hdf5", (2,))
    store = convert(libero(tmp_path), tmp_path / "out", skip_bad=True)
    assert store.num_episodes == 1
    assert "truncated" in store.provenance["skipped"][0]["reason"]
    with pytest.raises(DataError, match=r"task_0\.hdf5 cannot be read"):
        libero(path)


def test_rates_do_not_mix(tmp_path):
    write_libero(tmp_path / "task_0.hdf5")
    write_libero(tmp_path / "task_1.hdf5", env={"env_kwargs": {"control_freq": 10}})
    with pytest.raises(DataError, match=r"task_1\.hdf5 runs at 10 Hz.*20"):
        read(libero(tmp_path))


def test_words_that_are_not_utf8_are_refused(tmp_path):
    def spoil(data):
        data.attrs["problem_info"] = np.bytes_(b'{"language_instruction": "caf\xe9"}')

    with pytest.raises(DataError, match=r"problem_info is not UTF-8.*source\.instruction"):
        read(libero(write_libero(tmp_path / "a.hdf5", change=spoil)))


def test_mistaken_choices(tmp_path):
    path = write_libero(tmp_path / "a.hdf5")
    with pytest.raises(UnknownChoice, match="agentview_rgb"):
        libero(path, cameras={"agentview_rbg": "front"})
    with pytest.raises(DataError, match="same name"):
        libero(path, cameras={"agentview_rgb": "front", "eye_in_hand_rgb": "front"})
    with pytest.raises(UnknownChoice, match="ee_pos"):
        libero(path, state=["ee_poz"])
    with pytest.raises(UnknownChoice, match="rot180"):
        libero(path, images="rot90")
    with pytest.raises(ConfigError, match="hz"):
        libero(path, hz=0)
    with pytest.raises(DataError, match="no HDF5 file"):
        libero(tmp_path / "none")
