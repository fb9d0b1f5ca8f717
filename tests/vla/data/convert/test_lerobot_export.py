"""Stores as LeRobot data sets and back. What writes with lerobot is slow: its import is."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.vla.data.convert import lerobot_sets as sets
from vla.data.convert.config import LerobotConfig
from vla.data.convert.conversion import convert
from vla.data.convert.lerobot_export import LerobotWriter, export
from vla.data.convert.lerobot_extra import EpisodeExtra, Extra
from vla.data.store import TrajectoryStore
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ConfigError, DataError
from vla.types import Subtask, Trajectory

BODY = Embodiment(
    name="toy_arm",
    state=(Axis(name="x", unit="m", low=-1, high=1), Axis(name="grip", unit="1", low=0, high=1)),
    action=(
        Axis(name="dx", unit="m", low=-np.inf, high=np.inf, mode="delta", frame="tool"),
        Axis(name="grip", unit="1", low=-5, high=5),
    ),
    cameras={
        "front": Camera(height=64, width=96, source="toy", intrinsics=(50, 50, 48, 32)),
        "wrist.left": Camera(height=64, width=64, mount="hand"),
    },
    hz=10,
    rotation="rotvec",
    gripper="open_is_one",
)


def trajectory(length: int, seed: int, **changes) -> Trajectory:
    rng = np.random.default_rng([length, seed])

    def film(height: int, width: int) -> np.ndarray:
        coarse = rng.integers(0, 256, (length, height // 16, width // 16, 3), np.uint8)
        return coarse.repeat(16, axis=1).repeat(16, axis=2)

    content = {
        "images": {"front": film(64, 96), "wrist.left": film(64, 64)},
        "state": rng.uniform(0, 1, (length, 2)).astype(np.float32),
        "action": rng.uniform(-1, 1, (length, 2)).astype(np.float32),
        "instruction": f"task {seed % 2}",
        "time": np.cumsum(rng.uniform(0.08, 0.12, length)),
        "success": bool(seed % 2),
        "labels": {"target": rng.uniform(-1, 1, (length, 2)).astype(np.float32)},
        "source": {"seed": seed},
    }
    return Trajectory(**{**content, **changes})


@pytest.fixture
def store(tmp_path) -> TrajectoryStore:
    made = TrajectoryStore.create(
        tmp_path / "store", embodiment=BODY, provenance={"by": "test"}, codec="zstd"
    )
    made.append_many(trajectory(length, seed) for seed, length in enumerate((7, 2, 12, 3)))
    return made


def back(folder, output, **changes) -> TrajectoryStore:
    given = {"path": str(folder), "codec": "zstd", **changes}
    return convert(LerobotConfig(**given).build(), output, codec=given["codec"])


def assert_equal_numbers(left: TrajectoryStore, right: TrajectoryStore) -> None:
    assert left.embodiment == right.embodiment
    assert left.episode_ends.tolist() == right.episode_ends.tolist()
    assert left.labels == right.labels
    for key in ("state", "action", "time", *(f"labels/{name}" for name in left.labels)):
        assert left.column(key).tobytes() == right.column(key).tobytes()
    for a, b in zip(left.records, right.records, strict=True):
        assert (a.instruction, a.success, a.source) == (b.instruction, b.success, b.source)


# -- without lerobot ---------------------------------------------------------------------


def test_what_lerobot_cannot_hold_comes_back_from_the_extra_file(tmp_path):
    subtasks = (Subtask(start=0, stop=2, text="reach"), Subtask(start=1, stop=3, text="grasp"))
    whole = trajectory(3, 1, subtasks=subtasks, success=None)
    extra = Extra(
        embodiment=BODY,
        provenance={"by": "test"},
        cameras={"observation.images.front": "front"},
        episodes=(EpisodeExtra.of(whole, "abc"),),
        left_out=("depth",),
    )
    extra.write(tmp_path)
    assert Extra.read(tmp_path, [3]) == extra
    assert Extra.read(tmp_path / "elsewhere", [3]) is None
    with pytest.raises(DataError, match="edited after the export"):
        Extra.read(tmp_path, [4])
    (tmp_path / "meta/vla.json").write_text("{")
    with pytest.raises(DataError, match=r"vla\.json cannot be read"):
        Extra.read(tmp_path, [3])


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path, store):
    with pytest.raises(ConfigError, match="libsvtav1"):
        export(store, tmp_path / "out", codec="mpeg1")
    with pytest.raises(DataError, match="no episode"):
        export(store, tmp_path / "out", episodes=[])
    store.append(trajectory(1, 9))
    with pytest.raises(DataError, match=r"no films of one frame \(episodes \[4\]\)"):
        export(store, tmp_path / "out")
    uneven = TrajectoryStore.create(
        tmp_path / "uneven", embodiment=replace(BODY, hz=12.5), provenance={}
    )
    uneven.append(trajectory(2, 0))
    with pytest.raises(DataError, match=r"12\.5 Hz"):
        export(uneven, tmp_path / "out")
    with pytest.raises(DataError, match="exists"):
        export(store, tmp_path / "store")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "uneven"]


def test_an_episode_without_actions_is_refused(tmp_path, store, monkeypatch):
    film = trajectory(2, 0, action=None)
    monkeypatch.setattr(store, "episode", lambda number: film)
    writer = LerobotWriter(tmp_path, store, [0], video=True, codec="h264")
    with pytest.raises(DataError, match="episode 0 has no actions"):
        writer.add(0)


# -- with lerobot ------------------------------------------------------------------------


@pytest.mark.slow
def test_image_mode_round_trip_is_exact_to_the_last_bit(tmp_path, store):
    def stop(done: int, total: int) -> None:
        raise DataError(f"stopped after {done} of {total}")

    with pytest.raises(DataError, match="stopped after 1 of 4"):
        export(store, tmp_path / "out", video=False, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]

    told = []
    store.append(trajectory(1, 4))
    extra = export(store, tmp_path / "out", video=False, progress=lambda *done: told.append(done))
    assert told == [(n, 5) for n in (1, 2, 3, 4, 5)]
    assert extra.left_out == ()
    again = back(tmp_path / "out", tmp_path / "again")
    assert_equal_numbers(store, again)
    assert [r.uid for r in again.records] == [r.uid for r in store.records]
    assert again.hash == store.hash
    assert again.provenance["exported_from"] == {"by": "test"}
    with pytest.raises(ConfigError, match="declares the axes already"):
        LerobotConfig(path=str(tmp_path / "out"), codec="zstd", unit="m").build()
    # Without the extra file it is a LeRobot set like others: nominal times, our names gone.
    (tmp_path / "out/meta/vla.json").unlink()
    plain = back(tmp_path / "out", tmp_path / "plain", unit="m", action_mode="delta", frame="tool")
    assert [r.success for r in plain.records] == [False, True, False, True, False]
    assert set(plain.embodiment.cameras) == {"front", "left"}


@pytest.mark.slow
def test_video_mode_twice_round(tmp_path, store):
    """LeRobot -> store -> LeRobot -> store: all numbers stay, pictures stay alike."""
    store.append(trajectory(3, 6, success=None))
    export(store, tmp_path / "out", codec="h264")
    first = back(tmp_path / "out", tmp_path / "first")
    assert_equal_numbers(store, first)
    export(first, tmp_path / "out2", episodes=[4, 0, 2], codec="libsvtav1")
    second = back(tmp_path / "out2", tmp_path / "second")
    for index, number in enumerate((4, 0, 2)):
        old, new = store.episode(number), second.episode(index)
        np.testing.assert_array_equal(old.action, new.action)
        np.testing.assert_array_equal(old.time, new.time)
        assert (old.success, old.source) == (new.success, new.source)
        for name, frames in old.images.items():
            error = np.abs(frames.astype(int) - new.images[name])
            assert np.median(error) <= 12
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert "next.success" not in info["features"]  # one episode was never judged
    assert info["features"]["action"]["names"] == ["dx", "grip"]


@pytest.mark.slow
def test_sets_that_lerobot_wrote_over_several_files(tmp_path):
    """Tiny file limits: every file rolls over, in video mode and in image mode."""
    from lerobot.datasets import LeRobotDataset

    lengths = (4, 6, 3, 5, 4)
    for mode in ("video", "image"):
        features = {
            "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
            "action": {"dtype": "float32", "shape": (2,), "names": ["d", "e"]},
            sets.KEY: {
                "dtype": mode,
                "shape": (*sets.SIZE, 3),
                "names": ["height", "width", "channels"],
            },
        }
        folder = tmp_path / mode
        dataset = LeRobotDataset.create(
            "local/set", sets.FPS, features, root=folder, use_videos=mode == "video"
        )
        dataset.meta.update_chunk_settings(
            chunks_size=2, data_files_size_in_mb=1, video_files_size_in_mb=1
        )
        dataset.meta.info.data_files_size_in_mb = 0.003
        number = 0
        for index, length in enumerate(lengths):
            for row in range(length):
                dataset.add_frame(
                    {
                        "observation.state": sets.numbers(1, number, 3)[0],
                        "action": sets.numbers(1, number + 100, 2)[0],
                        sets.KEY: np.ascontiguousarray(sets.picture(number)),
                        "task": sets.TASKS[int(index == 2 and row > 0)],
                    }
                )
                number += 1
            dataset.save_episode()
            if mode == "video" and index == 0:
                (film,) = folder.glob("videos/*/*/*.mp4")
                dataset.meta.info.video_files_size_in_mb = 2.5 * film.stat().st_size / 2**20
        dataset.finalize()
        assert len(list(folder.glob("data/*/*.parquet"))) > 1
        assert mode == "image" or len(list(folder.glob("videos/*/*/*.mp4"))) > 1
        config = LerobotConfig(
            path=str(folder), codec="zstd", unit="rad", action_mode="absolute", frame="joint"
        )
        episodes = [pending.read() for pending in config.build()]
        assert [len(episode) for episode in episodes] == list(lengths)
        states = np.concatenate([episode.state for episode in episodes])
        np.testing.assert_array_equal(states, sets.numbers(number, 0, 3))
        frames = [frame for episode in episodes for frame in episode.images["cam_high"]]
        assert [sets.number_of(frame) for frame in frames] == list(range(number))
        assert [subtask.start for subtask in episodes[2].subtasks] == [0, 1]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_lerobot_reads_the_export_and_trains_on_it(tmp_path, store, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "out"
    export(store, folder, codec="h264")
    from lerobot.datasets import LeRobotDataset

    dataset = LeRobotDataset("local/set", root=folder)
    assert (len(dataset), dataset.num_episodes, dataset.fps) == (24, 4, 10)
    item = dataset[8]
    np.testing.assert_array_equal(item["action"].numpy(), store.column("action")[8])
    assert item["task"] == "task 1"
    picture = item["observation.images.front"].numpy().transpose(1, 2, 0) * 255
    assert np.median(np.abs(picture - store.read_frames("front", np.array([8]))[0])) <= 12

    stats = json.loads((folder / "meta/stats.json").read_text())
    table = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    actions = np.array(table["action"].to_pylist())
    assert stats["action"]["q01"] == pytest.approx(np.quantile(actions, 0.01, axis=0).tolist())
    front = np.concatenate([store.episode(n).images["front"] for n in range(4)]) / 255
    expected = np.quantile(front.reshape(-1, 3), 0.99, axis=0)
    assert np.ravel(stats["observation.images.front"]["q99"]) == pytest.approx(expected)

    words = {
        "dataset.repo_id": "local/set",
        "dataset.root": folder,
        "policy.type": "act",
        "policy.device": "cpu",
        "policy.push_to_hub": "false",
        "policy.pretrained_backbone_weights": "null",
        "policy.dim_model": 32,
        "policy.n_heads": 2,
        "policy.dim_feedforward": 32,
        "policy.n_encoder_layers": 1,
        "policy.chunk_size": 4,
        "policy.n_action_steps": 4,
        "steps": 1,
        "batch_size": 2,
        "num_workers": 0,
        "save_checkpoint": "false",
        "wandb.enable": "false",
        "output_dir": tmp_path / "run",
    }
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "lerobot.scripts.lerobot_train",
            *(f"--{key}={value}" for key, value in words.items()),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "End of training" in done.stderr + done.stdout
