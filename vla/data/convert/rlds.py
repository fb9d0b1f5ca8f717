"""RLDS episodes from a TFDS folder (features.json, dataset_info.json, *.tfrecord-*).

RLDS (arXiv:2111.02767) stores one episode per record; each step feature is flattened
over the steps, e.g. "steps/action" is one list of T * 7 floats and
"steps/observation/image_0" a list of T encoded images.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla.data.convert.tfrecord import Feature, Record, parse_example, read_records
from vla.errors import DataError, choose


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSpec:
    """One leaf of features.json.

    Attributes:
        kind: "tensor", "image" or "text"; another class name when it is none of these.
        shape: of one step's value; of one image (H, W, C).
        dtype: as TFDS names it.
        encoding: of images, "jpeg" or "png"; "" otherwise.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    encoding: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RldsEpisode:
    """One decoded record.

    Attributes:
        steps: by key below "steps/": arrays (T, *shape), or lists of T bytes (images, text).
        metadata: by key outside "steps/": a number, bytes or array.
        source: file name, record number and byte offset.
    """

    steps: dict[str, Any]
    metadata: dict[str, Any]
    source: dict[str, Any]


class RldsFolder:
    """A TFDS dataset on disk.

    Args:
        folder: the version folder, e.g. ".../bridge_dataset/1.0.0".

    Raises:
        DataError: when its JSON files are missing or not understood.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder)
        self.info = _read_json(self.path / "dataset_info.json")
        tree = _read_json(self.path / "features.json")
        try:
            self.features = dict(_leaves(tree, ""))
            self._shards = {
                split["name"]: [int(count) for count in split["shardLengths"]]
                for split in self.info["splits"]
            }
            self.name = str(self.info["name"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.path} is not a TFDS dataset folder: {error!r}.") from error

    def count(self, split: str) -> int:
        """Episodes in a split. Raises UnknownChoice."""
        return sum(choose("split", split, self._shards))

    def episodes(self, split: str) -> Iterator[RldsEpisode]:
        """Stream a split's episodes, shard by shard.

        Raises:
            DataError: naming file and byte offset of what is missing, corrupt or not as declared.
        """
        lengths = choose("split", split, self._shards)
        for shard, expected in enumerate(lengths):
            file = f"{self.name}-{split}.tfrecord-{shard:05d}-of-{len(lengths):05d}"
            found = 0
            for record in read_records(self.path / file):
                yield self._decode(record, file, found)
                found += 1
            if found != expected:
                raise DataError(
                    f"{self.path / file} holds {found} episodes, dataset_info.json says "
                    f"{expected}. Download or copy the file anew."
                )

    def _decode(self, record: Record, file: str, number: int) -> RldsEpisode:
        try:
            values = parse_example(record.data)
            steps, metadata = {}, {}
            for key, feature in values.items():
                spec = self.features.get(key)
                if spec is None:
                    raise DataError(f"{key!r} is not declared in features.json")
                if key.startswith("steps/"):
                    steps[key.removeprefix("steps/")] = _stack(key, feature, spec)
                else:
                    metadata[key] = feature[0] if len(feature) == 1 else feature
            if len({len(value) for value in steps.values()}) != 1:
                raise DataError("its step features have different lengths, or there are none")
        except DataError as error:
            place = f"{self.path / file}, record {number} at byte {record.offset}"
            raise DataError(f"{place}: {error}. Download or copy the file anew.") from error
        source = {"file": file, "record": number, "offset": record.offset}
        return RldsEpisode(steps=steps, metadata=metadata, source=source)


def _stack(key: str, feature: Feature, spec: FeatureSpec) -> Any:
    """Undo the flattening over steps: bytes stay a list, numbers become (T, *shape)."""
    if isinstance(feature, list):
        return feature
    size = int(np.prod(spec.shape))
    if size == 0 or len(feature) % size:
        raise DataError(f"{key!r} holds {len(feature)} numbers, no multiple of {spec.shape}")
    array = feature.reshape(-1, *spec.shape)
    return array if array.dtype == np.float32 else array.astype(spec.dtype)


def _leaves(node: dict[str, Any], prefix: str) -> Iterator[tuple[str, FeatureSpec]]:
    """Walk features.json; keys join with "/", as in the records."""
    if "featuresDict" in node:
        for key, child in node["featuresDict"]["features"].items():
            yield from _leaves(child, f"{prefix}/{key}" if prefix else key)
    elif "sequence" in node:
        yield from _leaves(node["sequence"]["feature"], prefix)
    else:
        kind = next((k for k in ("tensor", "image", "text") if k in node), node["pythonClassName"])
        body = node.get(kind, {})
        yield (
            prefix,
            FeatureSpec(
                kind=kind,
                shape=tuple(int(n) for n in body.get("shape", {}).get("dimensions", ())),
                dtype=body.get("dtype", ""),
                encoding=body.get("encodingFormat", ""),
            ),
        )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}. Give the folder that holds features.json, "
            "dataset_info.json and the tfrecord files."
        ) from error
