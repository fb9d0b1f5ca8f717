"""Episodes of an RLDS folder, told as a recipe says."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import imagecodecs
import numpy as np

from vla.data.convert.conversion import PendingEpisode
from vla.data.convert.openx.recipe import Part, Recipe
from vla.data.convert.openx.transforms import find_idle
from vla.data.convert.rlds import PendingRecord, RldsEpisode, RldsFolder
from vla.embodiment import Camera, Embodiment
from vla.errors import ConfigError, DataError, UnknownChoice
from vla.types import Subtask, Trajectory, Uint8

PNG = b"\x89PNG"
SHORT = 16
"""Episode metadata with more numbers than this (embeddings) stays out of the manifest."""


class RldsSource:
    """Episodes of one split of an RLDS folder.

    JPEG frames keep their bytes; PNG frames are decoded. Depth pictures are left out.

    Args:
        folder: with features.json, dataset_info.json and the tfrecord files.
        recipe: how they are told.
        split: as the folder names it. In public samples "val" may repeat "train".
        cameras: source name to our name, of the cameras to keep; None for the recipe's.
        converter: named in the provenance and in the cameras' source.
        drop_idle: leave out steps without motion and with an unchanged gripper.

    Raises:
        DataError, UnknownChoice: when folder, split, cameras or fields are not there, or a
            field has another shape than the recipe was written for.
        ConfigError: for `drop_idle` where actions are not six deltas and a gripper.
    """

    def __init__(
        self,
        folder: str,
        recipe: Recipe,
        *,
        split: str,
        converter: str,
        cameras: dict[str, str] | None = None,
        drop_idle: bool = False,
    ):
        self._rlds = RldsFolder(folder)
        self._recipe = recipe
        self._split = split
        self._cameras = recipe.cameras if cameras is None else cameras
        self._drop_idle = drop_idle
        self._count = self._rlds.count(split)
        if len(set(self._cameras.values())) != len(self._cameras):
            raise DataError(f"Two source cameras get the same name: {self._cameras}.")
        cards = {ours: self._camera(key, converter) for key, ours in self._cameras.items()}
        for part in recipe.parts:
            self._check_field(part)
        self.embodiment = Embodiment(
            name=recipe.robot,
            state=tuple(axis for part in recipe.state for axis in part.axes),
            action=tuple(axis for part in recipe.action for axis in part.axes),
            cameras=cards,
            hz=recipe.hz,
            rotation=recipe.rotation,
            gripper=recipe.gripper,
        )
        self.provenance: dict[str, Any] = {
            "format": "rlds",
            "dataset": self._rlds.name,
            "version": self._rlds.info.get("version", ""),
            "split": split,
            "cameras": dict(self._cameras),
            "converter": converter,
        }
        if drop_idle:
            self._require_steps()
            self.provenance["drop_idle"] = True

    def _require_steps(self) -> None:
        """Idleness is told from six deltas and a gripper; of other actions nobody knows."""
        modes = [axis.mode for axis in self.embodiment.action]
        if modes != ["delta"] * 6 + ["absolute"]:
            raise ConfigError(
                f"source.drop_idle needs an action of six deltas and a gripper; "
                f"{self._recipe.robot!r} has {', '.join(a.name for a in self.embodiment.action)}."
            )

    def _camera(self, name: str, converter: str) -> Camera:
        features, prefix = self._rlds.features, "steps/observation/"
        images = [
            key.removeprefix(prefix)
            for key, spec in features.items()
            if spec.kind == "image" and key.startswith(prefix) and spec.shape[-1:] == (3,)
        ]
        if name not in images:
            raise UnknownChoice("source camera", name, images)
        height, width = features[prefix + name].shape[:2]
        if min(height, width) <= 0:
            raise DataError(f"Camera {name!r} has no fixed size in features.json; resize it first.")
        turned = ":rot180" if self._recipe.turned else ""
        return Camera(height=height, width=width, source=f"{converter}:{name}{turned}")

    def _check_field(self, part: Part) -> None:
        """Stop before reading anything when the folder is not what the recipe was written for."""
        spec = self._rlds.features.get(f"steps/{part.field}")
        found = None if spec is None else spec.shape
        if found is None or np.prod(found, dtype=int) != np.prod(part.shape, dtype=int):
            raise DataError(
                f"{self._rlds.path}: step feature {part.field!r} is "
                f"{'missing' if found is None else f'of shape {found}'}, the recipe for "
                f"{self._recipe.robot!r} expects {part.shape}. Choose the data set's own recipe "
                "(source.dataset), or give the version that docs/openx.md tells of."
            )

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[PendingEpisode]:
        """Stream the episodes."""
        keys = {part.field for part in self._recipe.parts} | set(self._recipe.language)
        keys |= {f"observation/{name}" for name in self._cameras}
        for pending in self._rlds.episodes(self._split, keys):
            yield PendingEpisode(pending.name, partial(self._read, pending))

    def _read(self, pending: PendingRecord) -> Trajectory:
        episode = pending.read()
        try:
            return self._canonicalize(episode)
        except DataError as error:
            place = f"{episode.source['file']}, record {episode.source['record']}"
            raise DataError(f"{place}: {error}") from error

    def _canonicalize(self, episode: RldsEpisode) -> Trajectory:
        recipe, steps = self._recipe, episode.steps
        length = len(next(iter(steps.values())))
        texts = self._read_words(steps, length)
        state = _join(recipe.state, steps, length)
        action = _join(recipe.action, steps, length)
        rows = np.arange(length)
        if recipe.edit is not None:
            state, action, kept = recipe.edit(state, action)
            rows = rows[kept]
        if self._drop_idle:
            busy = ~find_idle(action)
            state, action, rows = state[busy], action[busy], rows[busy]
        if not len(rows):
            raise DataError("has no steps left")
        words = [texts[row] for row in rows]
        metadata = {
            key.removeprefix("episode_metadata/"): _plain(value)
            for key, value in episode.metadata.items()
            if isinstance(value, bytes) or np.size(value) <= SHORT
        }
        return Trajectory(
            images={
                ours: _select_frames(steps, f"observation/{name}", rows)
                for name, ours in self._cameras.items()
            },
            state=state,
            action=action,
            instruction=next((text for text in words if text), ""),
            time=np.arange(len(rows)) / recipe.hz,
            subtasks=_find_subtasks(words),
            source={**episode.source, **metadata},
        )

    def _read_words(self, steps: dict[str, Any], length: int) -> list[str]:
        """The instruction of every step, from the first language feature that has any."""
        texts = [""] * length
        for key in self._recipe.language:
            if key not in steps:
                if key == self._recipe.language[0]:
                    raise DataError(f"lacks step feature {key!r}")
                continue
            texts = [_decode_words(key, value) for value in steps[key]]
            if any(texts):
                break
        if not self._recipe.words_change and len(set(texts)) != 1:
            raise DataError(f"changes its instruction {len(set(texts)) - 1} times.")
        return texts


def _join(parts: tuple[Part, ...], steps: dict[str, Any], length: int) -> Any:
    """Parts side by side, float32 (length, axes)."""
    values = [part.read(steps, length) for part in parts]
    return np.concatenate([np.zeros((length, 0), np.float32), *values], axis=1)


def _decode_words(key: str, value: Any) -> str:
    """Text from UTF-8 bytes, or from code points padded with zeros (language_table)."""
    try:
        if isinstance(value, bytes):
            return value.decode().strip()
        text = "".join(chr(code) for code in value.reshape(-1).tolist() if code)
        return text.encode().decode().strip()
    except (ValueError, OverflowError) as error:  # UnicodeError is a ValueError
        raise DataError(f"{key!r} is not UTF-8 text: {error}") from error


def _find_subtasks(words: list[str]) -> tuple[Subtask, ...]:
    """Stretches of equal words; none when all steps share them."""
    starts = [row for row, text in enumerate(words) if row == 0 or text != words[row - 1]]
    if len(starts) == 1:
        return ()
    return tuple(
        Subtask(start=start, stop=stop, text=words[start])
        for start, stop in pairwise([*starts, len(words)])
        if words[start]
    )


def _select_frames(steps: dict[str, Any], key: str, rows: Any) -> list[bytes] | Uint8:
    """Encoded JPEG frames as they are; PNG frames decoded, uint8 (N, H, W, 3)."""
    if key not in steps:
        raise DataError(f"lacks step feature {key!r}")
    frames = [steps[key][row] for row in rows]
    if not any(frame.startswith(PNG) for frame in frames):
        return frames
    try:
        pixels = np.stack([imagecodecs.png_decode(frame) for frame in frames])
    except (imagecodecs.PngError, ValueError) as error:
        raise DataError(f"{key!r} holds a damaged PNG, or pictures that differ: {error}") from error
    if pixels.dtype != np.uint8 or pixels.shape[3:] != (3,):
        raise DataError(f"{key!r} holds PNG pictures that are not 8-bit RGB.")
    return pixels


def _plain(value: Any) -> Any:
    """A metadata value as JSON."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.tolist()
