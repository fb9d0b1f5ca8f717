"""RLDS folders in the exact public layout, made from what a recipe says that it reads."""

import importlib.util
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

_spec = importlib.util.spec_from_file_location(
    "tfrecord_encoder", Path(__file__).with_name("test_tfrecord.py")
)
encoder = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(encoder)

SIDE = 8
WORDS = b"put the cup on the plate"
# Where the public files do not hold plain float32 (their features.json).
DTYPES = {
    "action/open_gripper": "bool",
    "action/future/target_close": "int64",
    "action_dict/cartesian_velocity": "float64",
    "action_dict/gripper_position": "float64",
}
PACKED = ("observation/clip_function_input/base_pose_tool_reached", "observation/gripper_closed")
CODES = "observation/instruction"


def leaf(kind: str, shape: tuple[int, ...] = (), **entries) -> dict:
    dimensions = {"dimensions": [str(n) for n in shape]} if shape else {}
    body = {"shape": dimensions, **entries} if kind != "text" else {}
    return {"pythonClassName": f"tensorflow_datasets.core.features.{kind}", kind: body}


def nest(leaves: dict[str, dict]) -> dict:
    """A FeaturesDict tree; only the first level of keys is a dictionary of its own."""
    tree: dict = {}
    for key, value in leaves.items():
        *folder, name = key.split("/", 1)
        node = tree
        if folder:
            node = tree.setdefault(folder[0], {"featuresDict": {"features": {}}})["featuresDict"]
            node = node["features"]
        node[name] = value
    return {"featuresDict": {"features": tree}}


@dataclass
class RldsMaker:
    """Writes folders for a recipe and makes the content of their episodes."""

    zlib_fields: tuple[str, ...] = ()
    encoding: str = "jpeg"
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def features(self, recipe) -> dict[str, dict]:
        leaves = {}
        for part in recipe.parts:
            packed = "zlib" if part.field in self.zlib_fields else "none"
            dtype = DTYPES.get(part.field, "float32")
            shape = self.shapes.get(part.field, part.shape)
            leaves[part.field] = leaf("tensor", shape, dtype=dtype, encoding=packed)
        for key in recipe.language:
            codes = leaf("tensor", (512,), dtype="int32", encoding="none")
            text = leaf("tensor", dtype="string", encoding="none") if "/" in key else leaf("text")
            leaves[key] = codes if key == CODES else text
        for camera in recipe.cameras:
            image = leaf("image", (SIDE, SIDE, 3), dtype="uint8", encodingFormat=self.encoding)
            leaves[f"observation/{camera}"] = image
        leaves["is_first"] = leaf("tensor", dtype="bool", encoding="none")
        return leaves

    def episode(self, recipe, length: int, seed: int = 0) -> dict:
        rng = np.random.default_rng(seed)
        content = {"steps/is_first": np.arange(length) == 0}
        for part in recipe.parts:
            size = int(np.prod(part.shape, dtype=int))
            values = rng.uniform(-0.24, 0.24, length * size).astype(np.float32)
            if "int" in DTYPES.get(part.field, "") or "bool" in DTYPES.get(part.field, ""):
                values = (values > 0).astype(np.int64)
            if part.field in self.zlib_fields:
                steps = values.reshape(length, size)
                values = [zlib.compress(step.tobytes()) for step in steps]
            content[f"steps/{part.field}"] = values
        for key in recipe.language:
            codes = np.zeros((length, 512), np.int64)
            codes[:, : len(WORDS)] = list(WORDS)
            content[f"steps/{key}"] = codes.ravel() if key == CODES else [WORDS] * length
        for camera in recipe.cameras:
            frames = rng.integers(0, 256, (length, SIDE, SIDE, 3), np.uint8)
            content[f"steps/observation/{camera}"] = [simplejpeg.encode_jpeg(f) for f in frames]
        return content

    @staticmethod
    def frame(content: bytes) -> bytes:
        """A file of one record."""
        return encoder.tfrecord(content)

    def write(self, folder: Path, recipe, shards: list[list[dict]]) -> Path:
        """Returns the folder; `shards` hold the episodes' contents."""
        folder.mkdir()
        steps = {"sequence": {"feature": nest(self.features(recipe)), "length": "-1"}}
        tree = {"featuresDict": {"features": {"steps": steps}}}
        lengths = [str(len(shard)) for shard in shards]
        splits = [{"name": "train", "shardLengths": lengths}]
        info = {"name": "toy", "version": "0.1.0", "splits": splits}
        (folder / "dataset_info.json").write_text(json.dumps(info))
        (folder / "features.json").write_text(json.dumps(tree))
        for number, shard in enumerate(shards):
            path = folder / f"toy-train.tfrecord-{number:05d}-of-{len(shards):05d}"
            path.write_bytes(encoder.tfrecord(*(encoder.example(episode) for episode in shard)))
        return folder


@pytest.fixture
def maker() -> RldsMaker:
    return RldsMaker(zlib_fields=PACKED)
