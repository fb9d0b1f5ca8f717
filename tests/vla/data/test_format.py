"""docs/data.md against the code: its example opens, its code runs, its digests come out."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from vla.data.manifest import Manifest
from vla.data.storage import LocalStorage
from vla.data.store import TrajectoryStore
from vla.types import Subtask

PAGE = Path(__file__).parents[3] / "docs" / "data.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def rich(tmp_path, embodiment, make_trajectory):
    """Two segments; a film, depth, everything optional; JPEG."""
    store = TrajectoryStore.create(tmp_path / "rich", embodiment=embodiment, provenance={})
    for seed, changes in ((0, {"success": None}), (1, {"action": None, "instruction": "für"})):
        extra = {
            "sent": np.full((3, 2), 0.5, np.float32),
            "captured": {"wrist": np.arange(3.0)},
            "depth": {"front": np.full((3, 2, 2), 300 + seed, np.uint16)},
            "subtasks": (Subtask(start=0, stop=2, text="ü", success=False),),
        }
        store.append(make_trajectory(3, seed, **extra, **changes))
    return store


def test_the_example_is_a_manifest(tmp_path):
    (text,) = _blocks("json")
    (tmp_path / "manifest.json").write_text(text)
    manifest = Manifest.load(LocalStorage(tmp_path))
    assert manifest.optional == {
        "labels/goal": (2,), "sent": (1,), "captured/front": (), "depth/front": (8, 8),
    }  # fmt: skip
    uids = "".join(record.uid for record in manifest.segments[0].episodes)
    digest = hashlib.sha256(uids.encode()).hexdigest()[:8]
    assert manifest.segments[0].name == f"000000-{digest}"
    manifest.write(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text()) == json.loads(text)


def test_the_code_runs(rich, capsys):
    names = {"root": rich.path}
    for block in _blocks("python"):
        exec(block, names)
    assert capsys.readouterr().out.splitlines() == [
        "task 0 (3, 16, 24, 3) uint8",
        "für (3, 16, 24, 3) uint8",
    ]
    shard = next(rich.path.glob("segments/000001-*/images/wrist/c/0/0/0/0"))
    for frame in range(3):
        payload = names["read_frame"](shard, 3, frame)
        assert payload == rich.read_payload("wrist", 3 + frame)
        assert payload.startswith(b"\xff\xd8")


def test_the_digests_are_those_described(rich):
    """Section 7 again, from the files alone."""
    import zarr

    manifest = json.loads((rich.path / "manifest.json").read_text())
    names = {}
    exec(_blocks("python")[1], names)
    uids = []
    for segment in manifest["segments"]:
        folder = rich.path / "segments" / segment["name"]
        group = zarr.open_group(folder, mode="r")
        (episode,) = segment["episodes"]
        parts = [episode["instruction"].encode(), str(episode["success"]).encode()]
        for key in ("action", "captured/wrist", "labels/target", "sent", "state", "time"):
            parts += [key.encode(), group[f"data/{key}"][:].tobytes()]
        for key, file in (
            ("depth/front", "depth/front/c/0/0/0"),
            ("front", "images/front/c/0/0/0/0"),
            ("wrist", "images/wrist/c/0/0/0/0"),
        ):
            payloads = [names["read_frame"](folder / file, 3, frame) for frame in range(3)]
            parts += [key.encode(), *payloads]
        if not episode["has_action"]:
            parts.append(b"no action")
        for subtask in episode["subtasks"]:
            words = (subtask[key] for key in ("start", "stop", "text", "success"))
            parts += [b"subtask", *(str(word).encode() for word in words)]
        content = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
        uids.append(hashlib.sha256(content).hexdigest()[:32])
        for file, digest in segment["files"].items():
            assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
        found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        assert found == set(segment["files"])
    assert uids == [record.uid for record in rich.records]
    text = json.dumps(manifest["embodiment"], sort_keys=True, separators=(",", ":"))
    embodiment = hashlib.sha256(text.encode()).hexdigest()
    assert embodiment == rich.embodiment.hash
    assert hashlib.sha256("\n".join([embodiment, *uids]).encode()).hexdigest() == rich.hash
