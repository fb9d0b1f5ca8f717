"""UMI and PushT replay buffers: zarr v2 in their exact layouts, as folder and as zip."""

import numpy as np
import pytest
import zarr
from imagecodecs.numcodecs import Jpegxl, register_codecs
from numcodecs import Blosc

from vla.data.convert.config_arrays import PushtConfig, UmiConfig
from vla.data.convert.conversion import convert
from vla.errors import ConfigError, DataError, UnknownChoice

ENDS = (3, 4, 9)
WORDS = "wash the cup"


def film(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 4, 4, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)


def poses(count):
    rng = np.random.default_rng(count)
    return {
        "robot0_eef_pos": rng.normal(size=(count, 3)).astype(np.float32),
        "robot0_eef_rot_axis_angle": rng.normal(size=(count, 3)).astype(np.float32),
        "robot0_gripper_width": rng.uniform(0, 0.1, (count, 1)).astype(np.float32),
    }


def write(path, arrays, *, ends=ENDS, codec=None):
    """diffusion_policy's ReplayBuffer: zarr v2, one chunk per picture, blosc elsewhere."""
    register_codecs(verbose=False)
    store = zarr.storage.ZipStore(path, mode="w") if path.suffix == ".zip" else path
    root = zarr.create_group(store, zarr_format=2)
    data, meta = root.create_group("data"), root.create_group("meta")
    for key, values in arrays.items():
        is_film = values.ndim == 4
        data.create_array(
            key,
            data=values,
            chunks=(1, *values.shape[1:]) if is_film else values.shape,
            compressors=codec if is_film and codec else Blosc("zstd", clevel=5),
        )
    meta.create_array("episode_ends", data=np.array(ends, np.int64), compressors=None)
    if path.suffix == ".zip":
        store.close()
    return path


def umi(tmp_path, *, name="umi.zarr.zip", codec=None, ends=ENDS, **changes):
    count = 9
    arrays = {
        **poses(count),
        "camera0_rgb": film(count),
        "robot0_demo_start_pose": np.zeros((count, 6)),
        **changes,
    }
    present = {key: values for key, values in arrays.items() if values is not None}
    return write(tmp_path / name, present, codec=codec, ends=ends)


def source(path, **options):
    return UmiConfig(**{"path": str(path), "instruction": WORDS, **options}).build()


def read(made):
    return [pending.read() for pending in made]


@pytest.mark.parametrize("name", ["umi.zarr", "umi.zarr.zip"])
@pytest.mark.parametrize("codec", [None, Jpegxl(level=99, numthreads=1)])
def test_umi_numbers_and_pictures(tmp_path, name, codec):
    path = umi(tmp_path, name=name, codec=codec)
    store = convert(source(path, cameras={"camera0_rgb": "wrist"}), tmp_path / "o", codec="zstd")
    assert store.episode_ends.tolist() == list(ENDS)
    state = np.concatenate(list(poses(9).values()), axis=1)
    assert store.column("state").tobytes() == state.tobytes()
    np.testing.assert_array_equal(store.read_frames("wrist", np.arange(9)), film(9))
    body = store.embodiment
    assert [a.name for a in body.state] == ["x", "y", "z", "rx", "ry", "rz", "gripper_width"]
    assert {a.mode for a in body.action} == {"absolute"}
    assert (body.rotation, body.hz, body.gripper) == ("rotvec", 59.94, "none")


def test_the_action_is_the_next_pose_of_the_same_episode(tmp_path):
    for episode in read(source(umi(tmp_path))):
        np.testing.assert_array_equal(episode.action[:-1], episode.state[1:])
        np.testing.assert_array_equal(episode.action[-1], episode.state[-1])


def test_two_robots(tmp_path):
    second = {key.replace("0", "1", 1): values + 1 for key, values in poses(9).items()}
    made = source(umi(tmp_path, **second))
    names = [a.name for a in made.embodiment.action]
    assert names[6:8] == ["gripper_width", "robot1_x"]
    np.testing.assert_array_equal(read(made)[0].state[:, 7], second["robot1_eef_pos"][:3, 0])


def test_recorded_times_are_kept_and_must_agree_with_the_rate(tmp_path):
    times = 100 + np.arange(9) / 60 + np.random.default_rng(0).uniform(0, 1e-3, 9)
    path = umi(tmp_path, timestamp=times)
    episode = read(source(path))[2]
    np.testing.assert_allclose(episode.time, times[4:] - times[4])
    with pytest.raises(DataError, match=r"episode 0 runs at .* Hz, .*declared at 10"):
        read(source(path, hz=10.0))


def pusht(tmp_path, **changes):
    count, rng = 9, np.random.default_rng(1)
    arrays = {
        "action": rng.uniform(0, 512, (count, 2)).astype(np.float32),
        "img": film(count).astype(np.float32),  # as the public file has it
        "keypoint": rng.uniform(0, 512, (count, 9, 2)).astype(np.float32),
        "n_contacts": np.zeros((count, 1), np.float32),
        "state": rng.uniform(0, 3, (count, 5)).astype(np.float32),
    }
    return write(tmp_path / "pusht.zarr", {**arrays, **changes}), {**arrays, **changes}


def test_pusht(tmp_path):
    path, arrays = pusht(tmp_path)
    made = PushtConfig(path=str(path)).build()
    store = convert(made, tmp_path / "out", codec="zstd")
    assert store.column("action").tobytes() == arrays["action"].tobytes()
    assert store.column("state").tobytes() == arrays["state"].tobytes()
    assert store.column("labels/keypoint").tobytes() == arrays["keypoint"].tobytes()
    np.testing.assert_array_equal(store.read_frames("img", np.arange(9)), film(9))
    assert store.embodiment.hz == 10
    assert "T-shaped" in store.instructions[0]


def test_pictures_of_unknown_scale_are_refused(tmp_path):
    path, _ = pusht(tmp_path, img=film(9).astype(np.float32) / 255)
    with pytest.raises(DataError, match=r"img holds float32.*scale is unknown"):
        read(PushtConfig(path=str(path)).build())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"robot0_gripper_width": None}, "lacks 'robot0_gripper_width'"),
        ({"robot0_eef_pos": np.zeros((9, 2))}, r"robot0_eef_pos has shape \(9, 2\)"),
        ({"camera0_rgb": film(9)[..., :2]}, "pictures are"),
    ],
)
def test_what_does_not_fit_is_told_on_reading(tmp_path, changes, words):
    pending = list(source(umi(tmp_path, **changes)))
    assert len(pending) == 3
    with pytest.raises(DataError, match=rf"umi\.zarr\.zip, episode 1.*{words}"):
        pending[1].read()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"robot0_eef_pos": np.zeros((8, 3))}, "different lengths"),
        ({"ends": (3, 4, 10)}, "cut short"),
        ({"ends": (3, 3, 9)}, "must rise"),
        ({"ends": ()}, "ends at nothing"),
        ({"robot0_eef_pos": None}, "neither UMI's robot0_eef_pos nor PushT's"),
    ],
)
def test_buffers_that_contradict_themselves(tmp_path, changes, words):
    path = umi(tmp_path, **changes)
    with pytest.raises(DataError, match=words):
        source(path)


def test_a_zip_cut_short_and_things_that_are_no_zarr(tmp_path):
    path = umi(tmp_path)
    path.write_bytes(path.read_bytes()[:-300])
    for wrong in (path, tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="no zarr v2 folder"):
            source(wrong)


def test_a_damaged_or_lost_picture_spoils_its_episode_only(tmp_path):
    path = umi(tmp_path, name="umi.zarr", codec=Jpegxl(level=99))
    chunk = path / "data" / "camera0_rgb" / "3.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:40])
    (path / "data" / "camera0_rgb" / "8.0.0.0").unlink()  # zarr itself would make it black
    store = convert(source(path), tmp_path / "out", skip_bad=True)
    assert store.episode_ends.tolist() == [3]
    skipped = [entry["episode"] for entry in store.provenance["skipped"]]
    assert skipped == [f"{path}, episode 1", f"{path}, episode 2"]


def test_mistaken_choices(tmp_path):
    path = umi(tmp_path)
    with pytest.raises(UnknownChoice, match="camera0_rgb"):
        source(path, cameras={"camera_0": "wrist"})
    with pytest.raises(ConfigError, match=r"source\.instruction"):
        source(path, instruction="")
    with pytest.raises(ConfigError, match="hz"):
        UmiConfig(hz=float("nan"))
