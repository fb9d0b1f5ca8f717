"""Conversion of BridgeData: a synthetic folder always, the real sample where it lies."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from vla.data.convert.config import BridgeConfig, OpenXConfig, SourceConfig
from vla.data.convert.conversion import convert
from vla.data.convert.openx.source import RldsSource
from vla.data.convert.rlds import RldsFolder
from vla.data.stats import compute_statistics
from vla.data.store import TrajectoryStore
from vla.errors import ConfigError, DataError, UnknownChoice

SHARED = os.environ.get("VLA_SHARED_DATA", Path(__file__).parents[4] / "../shared/data")
SAMPLE = Path(SHARED).resolve() / "octo_bridge_debug"
needs_sample = pytest.mark.skipif(
    not SAMPLE.is_dir(), reason=f"no BridgeData sample at {SAMPLE}; set VLA_SHARED_DATA"
)

_spec = importlib.util.spec_from_file_location(
    "tfrecord_encoder", Path(__file__).with_name("test_tfrecord.py")
)
encoder = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(encoder)


def _features() -> dict:
    def tensor(*shape: int, dtype: str = "float32") -> dict:
        dimensions = {"dimensions": [str(n) for n in shape]} if shape else {}
        return {"pythonClassName": "Tensor", "tensor": {"shape": dimensions, "dtype": dtype}}

    image = {
        "pythonClassName": "Image",
        "image": {
            "shape": {"dimensions": ["8", "8", "3"]},
            "dtype": "uint8",
            "encodingFormat": "jpeg",
        },
    }
    observation = {"featuresDict": {"features": {"image_0": image, "state": tensor(7)}}}
    steps = {
        "action": tensor(7),
        "is_last": tensor(dtype="bool"),
        "language_instruction": {"pythonClassName": "Text", "text": {}},
        "observation": observation,
    }
    metadata = {"featuresDict": {"features": {"episode_id": tensor(dtype="int32")}}}
    sequence = {"sequence": {"feature": {"featuresDict": {"features": steps}}}}
    return {"featuresDict": {"features": {"steps": sequence, "episode_metadata": metadata}}}


def _record(length: int, number: int, **changes) -> bytes:
    rng = np.random.default_rng(number)
    frames = rng.integers(0, 256, (length, 8, 8, 3), np.uint8)
    last = np.zeros(length, np.int64)
    last[-1] = 1
    content = {
        "steps/action": rng.uniform(0, 0.4, length * 7).astype(np.float32),
        "steps/is_last": last,
        "steps/language_instruction": [b"open the drawer"] * length,
        "steps/observation/image_0": [simplejpeg.encode_jpeg(frame) for frame in frames],
        "steps/observation/state": rng.uniform(0, 0.4, length * 7).astype(np.float32),
        "episode_metadata/episode_id": np.array([number]),
    }
    return encoder.example({**content, **changes})


def _write(folder: Path, shards: list[list[bytes]]) -> Path:
    folder.mkdir()
    info = {
        "name": "toy",
        "version": "1.0.0",
        "splits": [{"name": "train", "shardLengths": [str(len(shard)) for shard in shards]}],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(_features()))
    for number, shard in enumerate(shards):
        path = folder / f"toy-train.tfrecord-{number:05d}-of-{len(shards):05d}"
        path.write_bytes(encoder.tfrecord(*shard))
    return folder


def _source(folder: Path) -> RldsSource:
    return BridgeConfig(path=str(folder), cameras={"image_0": "front"}).build()


@pytest.fixture
def toy(tmp_path) -> Path:
    return _write(tmp_path / "toy", [[_record(3, 0), _record(4, 1)], [_record(2, 2)]])


def test_all_shards_in_order_with_progress(toy, tmp_path):
    calls = []
    store = convert(_source(toy), tmp_path / "out", progress=lambda *done: calls.append(done))
    assert store.episode_ends.tolist() == [3, 7, 9]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert [record.source["episode_id"] for record in store.records] == [0, 1, 2]
    assert [record.source["record"] for record in store.records] == [0, 1, 0]
    assert store.provenance["dataset"] == "toy"
    assert not (tmp_path / ".out.partial").exists()


def test_a_damaged_source_leaves_no_store(toy, tmp_path):
    path = toy / "toy-train.tfrecord-00001-of-00002"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match=r"00001-of-00002, record at byte 0"):
        convert(_source(toy), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    path.write_bytes(encoder.tfrecord(_record(2, 2)))
    assert convert(_source(toy), tmp_path / "out").num_episodes == 3  # over the dead attempt


def test_a_missing_record_is_noticed(toy, tmp_path):
    (toy / "toy-train.tfrecord-00000-of-00002").write_bytes(encoder.tfrecord(_record(3, 0)))
    with pytest.raises(DataError, match=r"holds 1 episodes, dataset_info\.json says 2"):
        convert(_source(toy), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps/action": np.zeros(20, np.float32)}, "'steps/action' holds 20 numbers"),
        ({"steps/action": np.zeros(14, np.float32)}, "different lengths"),
        ({"steps/surprise": np.zeros(3, np.float32)}, "'steps/surprise' is not declared"),
        ({"steps/language_instruction": [b"a", b"b", b"b"]}, "changes its instruction"),
        ({"steps/observation/image_0": [b"?"] * 3}, "'front', step 0"),
        ({"steps/action": np.full(21, 3, np.float32)}, "'dx' is 3 m"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, words):
    folder = _write(tmp_path / "toy", [[_record(3, 0, **changes)]])
    with pytest.raises(DataError, match=words):
        convert(_source(folder), tmp_path / "out")


def test_mistaken_choices(toy, tmp_path):
    with pytest.raises(UnknownChoice, match="image_0"):
        BridgeConfig(path=str(toy)).build()  # it has no image_1
    with pytest.raises(UnknownChoice, match="train"):
        BridgeConfig(path=str(toy), split="test", cameras={"image_0": "front"}).build()
    with pytest.raises(DataError, match=r"features\.json"):
        BridgeConfig(path=str(tmp_path)).build()
    with pytest.raises(ConfigError, match="source=bridge"):
        SourceConfig().build()
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="exists"):
        convert(_source(toy), tmp_path / "out")


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> TrajectoryStore:
    return convert(
        BridgeConfig(path=str(SAMPLE)).build(), tmp_path_factory.mktemp("bridge") / "store"
    )


@needs_sample
def test_real_episodes_equal_their_source(converted):
    converted.verify()
    episodes = [pending.read() for pending in RldsFolder(SAMPLE).episodes("train")]
    assert converted.num_episodes == len(episodes) == 25
    assert converted.num_frames == sum(len(e.steps["action"]) for e in episodes) == 250
    begin = 0
    for index, episode in enumerate(episodes):
        end = int(converted.episode_ends[index])
        action, state = converted.column("action")[begin:end], converted.column("state")[begin:end]
        assert action.tobytes() == episode.steps["action"].tobytes()
        assert state.tobytes() == episode.steps["observation/state"].tobytes()
        text = converted.instructions[index].encode()
        assert {text} == set(episode.steps["language_instruction"])
        for source, ours in BridgeConfig().cameras.items():
            payloads = [converted.read_payload(ours, frame) for frame in range(begin, end)]
            assert payloads == episode.steps[f"observation/{source}"]
        begin = end
    assert len(set(converted.instructions)) == 4


@needs_sample
def test_real_data_is_fit_for_training(converted):
    statistics = compute_statistics(converted, converted.split("train"))
    statistics.require_usable()
    assert np.abs(statistics.action.mean[:3]).max() < 0.02  # metres per step at 5 Hz
    assert converted.embodiment.hz == 5
    assert converted.embodiment.gripper == "open_is_one"


@needs_sample
def test_the_samples_two_splits_are_twins(converted, tmp_path):
    """So "val" must never serve as held-out data; equal uids show it."""
    val = convert(BridgeConfig(path=str(SAMPLE), split="val").build(), tmp_path / "val")
    assert {r.uid for r in val.records} == {r.uid for r in converted.records}


@needs_sample
def test_real_episodes_relabelled_as_openvla_does(converted, tmp_path):
    """Reached steps follow the commanded ones and are smaller: the controller lags."""
    source = OpenXConfig(dataset="bridge_dataset", path=str(SAMPLE)).build()
    store = convert(source, tmp_path / "relabelled")
    assert store.num_frames == 25 * 8
    reached = store.column("action").reshape(25, 8, 7)
    commanded = converted.column("action").reshape(25, 10, 7)[:, 1:9]
    state = converted.column("state").reshape(25, 10, 7)
    np.testing.assert_allclose(reached[..., :3], np.diff(state[:, 1:, :3], axis=1), atol=1e-6)
    assert set(np.unique(reached[..., 6])) <= {0, 1}
    for axis in range(3):
        pair = commanded[..., axis].ravel(), reached[..., axis].ravel()
        assert np.corrcoef(*pair)[0, 1] > 0.6
        assert 0.5 < np.polyfit(*pair, 1)[0] < 1
