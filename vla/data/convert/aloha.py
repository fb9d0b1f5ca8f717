"""ALOHA and ACT episodes: one HDF5 file each, two arms with seven joint values apiece.

Layout (act, record_sim_episodes.py; aloha, record_episodes.py): /action (N, 14),
/observations/{qpos, qvel, effort} (N, 14), /observations/images/<camera> with pictures
(N, H, W, 3), or, under the attribute `compress`, JPEG files padded with zeros to rows of
equal length. /compress_len has their lengths, one row per camera in the recorder's own
order, which HDF5 does not keep: the true length is that of the row without its padding
(a JPEG never ends with a zero byte), and must be found in /compress_len.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg

from vla.data.convert.arrays import (
    choose_axes,
    choose_cameras,
    find,
    named_axes,
    read_images,
    read_numbers,
    require_equal_lengths,
)
from vla.data.convert.conversion import PendingEpisode
from vla.data.convert.hdf5 import list_hdf5, open_hdf5
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import DataError
from vla.types import Trajectory, Uint8

if TYPE_CHECKING:
    from vla.data.convert.config_arrays import AlohaConfig

JOINTS = "waist shoulder elbow forearm_roll wrist_angle wrist_rotate"
WIDTH = 14
FULL = 2 * np.pi
END = b"\xff\xd9"
"""Every JPEG file's last two bytes."""


def _both_arms(prefix: str, *, unit: str, grip_unit: str, bound: float) -> tuple[Axis, ...]:
    axes: tuple[Axis, ...] = ()
    for side in ("left", "right"):
        names = " ".join(f"{side}_{prefix}{joint}" for joint in JOINTS.split())
        axes += named_axes(names, unit=unit, low=-bound, high=bound, frame="joint")
        low, high = (-0.5, 1.5) if grip_unit == "1" else (-bound, bound)
        axes += named_axes(
            f"{side}_{prefix}gripper", unit=grip_unit, low=low, high=high, frame="joint"
        )
    return axes


POSITIONS = _both_arms("", unit="rad", grip_unit="1", bound=FULL)
"""Joint angles and the gripper's opening, 1 open and 0 closed; leaders reach a little beyond."""

STATES: dict[str, tuple[Axis, ...]] = {
    "qpos": POSITIONS,
    "qvel": _both_arms("vel_", unit="rad/s", grip_unit="1/s", bound=50.0),
    # The motors' own measure, mA in Interbotix' driver; not newton metres.
    "effort": _both_arms("effort_", unit="mA", grip_unit="mA", bound=1e4),
}


class AlohaSource:
    """Episodes of a folder, in the order of the numbers in the files' names.

    Args:
        config: see `AlohaConfig`.

    Raises:
        DataError: when no file can be read.
        UnknownChoice: for a camera or state key that does not exist.
    """

    def __init__(self, config: "AlohaConfig"):
        self._config = config
        self._files = list_hdf5(config.path)
        self._state = choose_axes(config.state, STATES)
        failure: DataError | None = None
        for path in self._files:  # the first that can be read tells the cameras
            try:
                with open_hdf5(path) as file:
                    self._describe(file, path)
                return
            except DataError as error:
                failure = failure or error
        raise failure or DataError(f"{config.path} holds no episode.")

    def _describe(self, file: Any, path: Path) -> None:
        config = self._config
        images = find(find(file, "observations", str(path)), "images", str(path))
        self._cameras = choose_cameras(config.cameras, images)
        is_sim = bool(file.attrs.get("sim", False))
        cameras = {}
        for name, ours in self._cameras.items():
            height, width = _size(images[name], f"{path}, {name}")
            kind = "sim" if is_sim else "real"
            cameras[ours] = Camera(height=height, width=width, source=f"aloha_{kind}:{name}")
        self.embodiment = Embodiment(
            name="aloha",
            state=self._state,
            action=POSITIONS,
            cameras=cameras,
            hz=config.hz,
            gripper="open_is_one",
        )
        self.provenance: dict[str, Any] = {
            "format": "hdf5:aloha",
            "converter": "aloha",
            "sim": is_sim,
            "cameras": dict(self._cameras),
            "swap_colours": config.swap_colours,
        }

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[PendingEpisode]:
        """File by file."""
        for path in self._files:
            yield PendingEpisode(str(path), partial(self._read, path))

    def _read(self, path: Path) -> Trajectory:
        config = self._config
        with open_hdf5(path) as file:
            observations = find(file, "observations", str(path))
            arrays = {"action": find(file, "action", str(path))}
            arrays |= {key: find(observations, key, str(path)) for key in config.state}
            images = find(observations, "images", str(path))
            arrays |= {name: find(images, name, str(path)) for name in self._cameras}
            count = require_equal_lengths({k: len(a) for k, a in arrays.items()}, str(path))
            numbers = {
                key: read_numbers(arrays[key], np.s_[:], what=f"{path}, {key}", width=WIDTH)
                for key in ("action", *config.state)
            }
            sizes = file["compress_len"][:] if "compress_len" in file else None
            return Trajectory(
                images={
                    ours: self._read_images(arrays[name], sizes, f"{path}, {name}")
                    for name, ours in self._cameras.items()
                },
                state=np.concatenate([numbers[key] for key in config.state], axis=1),
                action=numbers["action"],
                instruction=config.instruction,
                time=np.arange(count) / config.hz,
                source={"file": path.name, "sim": bool(file.attrs.get("sim", False))},
            )

    def _read_images(self, array: Any, sizes: Any, what: str) -> Uint8 | list[bytes]:
        if array.ndim == 4:
            pixels = read_images(array, np.s_[:], what=what)
            return np.ascontiguousarray(pixels[..., ::-1]) if self._config.swap_colours else pixels
        files = _strip_padding(array, sizes, what)
        if not self._config.swap_colours:
            return files
        try:
            return np.stack([simplejpeg.decode_jpeg(file, "BGR") for file in files])
        except ValueError as error:
            raise DataError(f"{what}: a picture is not an intact JPEG: {error}.") from error


def _strip_padding(array: Any, sizes: Any, what: str) -> list[bytes]:
    """The JPEG files of padded rows (N, L), each as long as /compress_len says for some camera.

    Raises:
        DataError: for rows that are no JPEG files, or of other lengths.
    """
    if array.ndim != 2 or array.dtype != np.uint8:
        raise DataError(
            f"{what} has shape {array.shape} and {array.dtype}; pictures are uint8 "
            "(steps, height, width, 3), or padded JPEG files (steps, bytes)."
        )
    files = [row.tobytes().rstrip(b"\0") for row in array[:]]
    for step, file in enumerate(files):
        if not file.endswith(END):
            raise DataError(f"{what}: the picture of step {step} is no complete JPEG file.")
    if sizes is not None:
        lengths = np.array([len(file) for file in files])
        rows = np.atleast_2d(sizes)
        # compress_len has as many columns as the recorder's longest episode.
        if not any(np.array_equal(row[: len(lengths)].astype(int), lengths) for row in rows):
            raise DataError(f"{what}: its JPEG files have other lengths than /compress_len says.")
    return files


def _size(array: Any, what: str) -> tuple[int, int]:
    """Height and width in pixels."""
    if array.ndim == 4:
        return int(array.shape[1]), int(array.shape[2])
    file = _strip_padding(array, None, what)[0] if len(array) else b""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(file)
    except ValueError as error:
        raise DataError(f"{what}: the first picture is not a JPEG: {error}.") from error
    return int(height), int(width)
