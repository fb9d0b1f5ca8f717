"""RLDS episodes from a TFDS folder (features.json, dataset_info.json, *.tfrecord-*).

RLDS (arXiv:2111.02767) stores one episode per record; each step feature is flattened
over the steps, e.g. "steps/action" is one list of T * 7 floats and
"steps/observation/image_0" a list of T encoded images.
"""

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.convert.tfrecord import Feature, Record, parse_example, read_records
from vla.errors import DataError, choose


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSpec:
    """One leaf of features.json.

    Attributes:
        kind: "tensor", "image" or "text"; another class name when it is none of these.
        shape: of one step's value; of one image (H, W, C).
        dtype: as TFDS names it.
        encoding: of images, "jpeg", "png" or "" (undeclared); of tensors, "zlib" or "bytes" when
            each step's numbers are stored as one byte string, "none" otherwise.
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


@dataclass(frozen=True, slots=True)
class PendingRecord:
    """An episode that has been found but not decoded.

    Attributes:
        name: file and record number.
        read: gives the episode; raises DataError naming file and byte offset of what is missing,
            corrupt or not as declared.
    """

    name: str
    read: Callable[[], RldsEpisode]


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
                split["name"]: [int(count) for count in split.get("shardLengths", ())]
                for split in self.info["splits"]
            }
            self.name = str(self.info["name"])
            form = self.info.get("fileFormat", "tfrecord")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{self.path} is not a TFDS dataset folder: {error!r}.") from error
        if form != "tfrecord":
            raise DataError(f"{self.path} holds {form!r} files; only tfrecord is read.")

    def count(self, split: str) -> int:
        """Episodes in a split. Raises UnknownChoice."""
        return sum(choose("split", split, self._shards))

    def episodes(self, split: str, steps: set[str] | None = None) -> Iterator[PendingRecord]:
        """The episodes of a split, shard by shard; reading them raises, iterating does not.

        Where a file cannot be followed any further, or holds fewer episodes than declared, one
        pending record stands for all that are lost with it, and the next file follows.

        Args:
            split: as the folder names it; UnknownChoice is raised when it does not.
            steps: step features to decode, as keys below "steps/"; None for all.
        """
        lengths = choose("split", split, self._shards)
        skip = set() if steps is None else self._keys_but(steps)
        for shard, expected in enumerate(lengths):
            file = f"{self.name}-{split}.tfrecord-{shard:05d}-of-{len(lengths):05d}"
            found, lost = 0, False
            for record in read_records(self.path / file):
                read = partial(self._decode, record, file, found, expected, skip)
                yield PendingRecord(f"{file}, record {found}", read)
                found += 1
                lost = record.lost
            if found != expected and not lost:
                yield PendingRecord(file, partial(self._miss, file, found, expected))

    def _keys_but(self, steps: set[str]) -> set[str]:
        """Declared step features outside `steps`, with the names ragged ones have in records."""
        keys = {key for key in self.features if key.startswith("steps/")}
        keys -= {f"steps/{key}" for key in steps}
        ragged = ("ragged_flat_values", "ragged_row_lengths_0", "ragged_row_lengths_1")
        return keys | {f"{key}/{suffix}" for key in keys for suffix in ragged}

    def _miss(self, file: str, found: int, expected: int) -> RldsEpisode:
        raise DataError(
            f"{self.path / file} holds {found} episodes, dataset_info.json says "
            f"{expected}. Download or copy the file anew."
        )

    def _decode(
        self, record: Record, file: str, number: int, expected: int, skip: set[str]
    ) -> RldsEpisode:
        if record.lost:
            raise DataError(
                f"{record.damage} Lost with it: {expected - number} of {expected} episodes."
            )
        try:
            values = parse_example(record.data, skip)
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
            if error is record.damage:
                raise
            place = f"{self.path / file}, record {number} at byte {record.offset}"
            raise DataError(f"{place}: {error}. Download or copy the file anew.") from error
        source = {"file": file, "record": number, "offset": record.offset}
        return RldsEpisode(steps=steps, metadata=metadata, source=source)


def _stack(key: str, feature: Feature, spec: FeatureSpec) -> Any:
    """Undo the flattening over steps: bytes stay a list, numbers become (T, *shape)."""
    if len(feature) == 0:
        raise DataError(f"{key!r} is empty")
    is_list, packed = isinstance(feature, list), spec.encoding in ("zlib", "bytes")
    is_text = spec.kind in ("image", "text") or spec.dtype == "string"
    if is_list != (is_text or packed):
        found = "bytes" if is_list else "numbers"
        raise DataError(f"{key!r} holds {found}, {spec.kind} {spec.dtype} is declared")
    if is_text:
        return feature
    size = int(np.prod(spec.shape))
    if packed:
        feature = np.concatenate([_unpack(key, item, spec, size) for item in feature])
    if size <= 0 or len(feature) % size:
        raise DataError(f"{key!r} holds {len(feature)} numbers, no multiple of {spec.shape}")
    array = feature.reshape(-1, *spec.shape)
    return array if array.dtype == np.float32 else array.astype(_find_type(key, spec))


def _find_type(key: str, spec: FeatureSpec) -> np.dtype[Any]:
    try:
        return np.dtype(spec.dtype or "int64")  # class labels and the like declare none
    except TypeError as error:
        raise DataError(f"{key!r} is declared as {spec.dtype!r}, which is not read") from error


def _unpack(key: str, item: bytes, spec: FeatureSpec, size: int) -> NDArray[Any]:
    """One step's numbers from the bytes of a TFDS Tensor(encoding="zlib" or "bytes")."""
    form = _find_type(key, spec)
    count = size * form.itemsize
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(item, count + 1) if spec.encoding == "zlib" else item
    except zlib.error as error:
        raise DataError(f"{key!r} holds a step that is not zlib data: {error}") from error
    if len(raw) != count or (spec.encoding == "zlib" and not unpacker.eof):
        raise DataError(f"{key!r} holds a step that does not unpack to {size} {spec.dtype} numbers")
    return np.frombuffer(raw, form.newbyteorder("<")).astype(form)


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
                encoding=body.get("encodingFormat" if kind == "image" else "encoding", ""),
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
