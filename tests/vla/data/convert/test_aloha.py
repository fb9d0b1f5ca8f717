"""ALOHA and ACT: one file per episode, plain pictures in simulation, padded JPEGs on the robot."""

import h5py
import numpy as np
import pytest
import simplejpeg

from vla.data.convert.config_arrays import AlohaConfig
from vla.data.convert.conversion import convert
from vla.errors import ConfigError, DataError, UnknownChoice

# The recorder's order, which is not the alphabet's.
CAMERAS = ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")
WORDS = "open the lid"


def film(length, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (length, 3, 4, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)


def numbers(length, key):
    return np.random.default_rng([length, key]).uniform(-0.4, 0.9, (length, 14))


def write(path, length, *, compress=False, cameras=CAMERAS, change=None):
    """As record_sim_episodes.py (plain) and ALOHA's record_episodes.py (compressed) leave it."""
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = not compress
        file.attrs["compress"] = compress
        file["action"] = numbers(length, 0)
        observations = file.create_group("observations")
        for key, name in enumerate(("qpos", "qvel", "effort"), start=1):
            observations[name] = numbers(length, key)
        images = observations.create_group("images")
        files = {
            name: [simplejpeg.encode_jpeg(f, 60 + 9 * n) for f in film(length, n)]
            for n, name in enumerate(cameras)
        }
        longest = max(len(f) for frames in files.values() for f in frames)
        for number, name in enumerate(cameras):
            if compress:
                rows = [f.ljust(longest, b"\0") for f in files[name]]
                images[name] = np.stack([np.frombuffer(row, np.uint8) for row in rows])
            else:
                images[name] = film(length, number)
        if compress:
            sizes = [[len(f) for f in files[name]] for name in cameras]
            file["compress_len"] = np.array(sizes, np.float32)
        if change is not None:
            change(file)
    return files


def source(path, **options):
    return AlohaConfig(**{"path": str(path), "instruction": WORDS, **options}).build()


def read(made):
    return [pending.read() for pending in made]


def test_a_simulated_folder(tmp_path):
    for number, length in ((0, 2), (2, 3), (10, 4)):
        write(tmp_path / f"episode_{number}.hdf5", length, cameras=("top",))
    store = convert(source(tmp_path), tmp_path / "out", codec="zstd")
    assert store.episode_ends.tolist() == [2, 5, 9]  # 0, 2, 10 and not 0, 10, 2
    assert store.instructions == [WORDS] * 3
    episode = store.episode(2)
    assert episode.action.tobytes() == numbers(4, 0).astype(np.float32).tobytes()
    assert episode.state.tobytes() == numbers(4, 1).astype(np.float32).tobytes()
    np.testing.assert_array_equal(episode.images["top"], film(4, 0))
    np.testing.assert_array_equal(episode.time, np.arange(4) / 50)
    body = store.embodiment
    assert [a.name for a in body.action][5:8] == ["left_wrist_rotate", "left_gripper",
                                                  "right_waist"]  # fmt: skip
    assert (body.hz, body.gripper) == (50, "open_is_one")
    assert body.cameras["top"].source == "aloha_sim:top"


def test_pictures_stored_as_jpeg_keep_a_good_quality(tmp_path):
    write(tmp_path / "episode_0.hdf5", 3, cameras=("top",))
    stored = convert(source(tmp_path), tmp_path / "out").episode(0).images["top"]
    error = np.square(stored.astype(float) - film(3, 0)).mean()
    assert 10 * np.log10(255**2 / error) > 30


def test_padded_jpeg_files_pass_through_byte_for_byte(tmp_path):
    files = write(tmp_path / "episode_0.hdf5", 5, compress=True)
    wanted = {"cam_high": "front", "cam_left_wrist": "left", "cam_right_wrist": "right"}
    store = convert(source(tmp_path, cameras=wanted), tmp_path / "out")
    for theirs, ours in wanted.items():
        assert [store.read_payload(ours, frame) for frame in range(5)] == files[theirs]
    assert store.embodiment.cameras["left"].source == "aloha_real:cam_left_wrist"
    assert set(store.embodiment.cameras) == {"front", "left", "right"}


def test_swapped_colours(tmp_path):
    write(tmp_path / "episode_0.hdf5", 2, cameras=("top",))
    episode = read(source(tmp_path, swap_colours=True))[0]
    np.testing.assert_array_equal(episode.images["top"], film(2, 0)[..., ::-1])
    files = write(tmp_path / "episode_0.hdf5", 2, compress=True)
    episode = read(source(tmp_path, swap_colours=True))[0]
    expected = simplejpeg.decode_jpeg(files["cam_low"][1])[..., ::-1]
    np.testing.assert_array_equal(episode.images["cam_low"][1], expected)


def test_more_state(tmp_path):
    write(tmp_path / "episode_0.hdf5", 2, cameras=("top",))
    made = source(tmp_path, state=["qpos", "qvel", "effort"])
    assert read(made)[0].state.shape == (2, 42)
    assert {a.unit for a in made.embodiment.state[14:28]} == {"rad/s", "1/s"}


def _replace(key, values):
    def change(file):
        del file[key]
        if values is not None:
            file[key] = values

    return change


HIGH = "observations/images/cam_high"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_replace("action", None), "lacks 'action'"),
        (_replace("action", np.zeros((4, 16))), r"action has shape \(4, 16\)"),
        (_replace("action", np.zeros((3, 14))), "different lengths: action 3"),
        (_replace(HIGH, None), "lacks 'cam_high'"),
        (_replace(HIGH, np.zeros((4, 9), np.uint8)), "step 0 is no complete JPEG"),
        (_replace(HIGH, np.zeros((4, 9, 9), np.uint8)), "padded JPEG"),
        (_replace("compress_len", np.ones((4, 4), np.float32)), "than /compress_len says"),
    ],
)
def test_a_bad_file_is_named_and_can_be_skipped(tmp_path, change, words):
    write(tmp_path / "episode_0.hdf5", 3, compress=True)
    write(tmp_path / "episode_1.hdf5", 4, compress=True, change=change)
    with pytest.raises(DataError, match=rf"episode_1\.hdf5.*{words}"):
        convert(source(tmp_path), tmp_path / "out")
    assert convert(source(tmp_path), tmp_path / "out", skip_bad=True).num_episodes == 1


def test_a_file_cut_short(tmp_path):
    write(tmp_path / "episode_0.hdf5", 3, cameras=("top",))
    path = tmp_path / "episode_1.hdf5"
    write(path, 3, cameras=("top",))
    path.write_bytes(path.read_bytes()[:-500])
    first, second = source(tmp_path)
    assert len(first.read()) == 3
    with pytest.raises(DataError, match=r"episode_1\.hdf5 cannot be read.*truncated"):
        second.read()
    with pytest.raises(DataError, match="truncated"):
        source(path)


def test_mistaken_choices(tmp_path):
    write(tmp_path / "episode_0.hdf5", 2, cameras=("top",))
    with pytest.raises(UnknownChoice, match="top"):
        source(tmp_path, cameras={"cam_high": "front"})
    with pytest.raises(UnknownChoice, match="qpos"):
        source(tmp_path, state=["qpoz"])
    with pytest.raises(ConfigError, match=r"source\.instruction"):
        source(tmp_path, instruction="")
    with pytest.raises(ConfigError, match="qpos"):
        AlohaConfig(state=[])
