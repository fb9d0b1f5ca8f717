"""Replay buffers of diffusion_policy and UMI: zarr v2, as a folder or one .zarr.zip.

Layout: data/<key> (N, ...) over all episodes, meta/episode_ends (E,). Two sets of keys:

- UMI: camera<c>_rgb, robot<r>_{eef_pos, eef_rot_axis_angle, gripper_width}. There is no
  action: it is the pose and width reached one step later, absolute, and the last step's own.
  Poses are in the frame of the map, rotations are rotation vectors.
- PushT: state (N, 5), action (N, 2), img (floats from 0 to 255), keypoint. Lengths are pixels
  of its 512 x 512 board; keypoints become the label "keypoint".
"""

import math
import re
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vla.data.convert.arrays import (
    choose_cameras,
    find,
    named_axes,
    read_images,
    read_numbers,
    require_equal_lengths,
    require_rate,
)
from vla.data.convert.conversion import PendingEpisode
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import DataError
from vla.types import Float32, Trajectory

if TYPE_CHECKING:
    from vla.data.convert.config_arrays import UmiConfig

FULL = 2 * np.pi
BOARD = 512.0

PUSHT_STATE = (
    *named_axes("agent_x agent_y block_x block_y", unit="1", low=-BOARD, high=2 * BOARD),
    *named_axes("block_angle", unit="rad", low=-FULL, high=FULL),
)
PUSHT_ACTION = named_axes("x y", unit="1", low=0.0, high=BOARD)
"""Where on the board, in its pixels, the agent is sent."""

PARTS = {
    "eef_pos": named_axes("x y z", unit="m", low=-10, high=10),
    "eef_rot_axis_angle": named_axes("rx ry rz", unit="rad", low=-FULL, high=FULL),
    "gripper_width": named_axes("gripper_width", unit="m", low=-0.05, high=0.3),
}
"""What UMI records of each robot, in this order; wide bounds, no limits to drive an arm with."""


class UmiSource:
    """Episodes of one replay buffer, read one at a time.

    Args:
        config: see `UmiConfig`.

    Raises:
        DataError: when it is no replay buffer, or its arrays do not fit each other.
        UnknownChoice: for a camera that does not exist.
    """

    def __init__(self, config: "UmiConfig"):
        self._config = config
        self._root = open_zarr(Path(config.path))
        place = config.path
        self._data: Any = find(self._root, "data", place)
        ends = find(find(self._root, "meta", place), "episode_ends", f"{place}, meta")
        self._ends: NDArray[np.int64] = np.asarray(read_all(ends, place), np.int64)
        keys = [key for key, _ in self._data.arrays()]
        self._robots = sorted({m[1] for key in keys if (m := re.match(r"(robot\d+)_eef_pos", key))})
        if not self._robots and not {"state", "action"} <= set(keys):
            raise DataError(
                f"{place} has neither UMI's robot0_eef_pos nor PushT's state and action; it has: "
                f"{', '.join(sorted(keys))}."
            )
        pictures = [key for key in keys if self._data[key].ndim == 4]
        self._cameras = choose_cameras(config.cameras, pictures)
        count = require_equal_lengths({key: self._data[key].shape[0] for key in keys}, place)
        rising = (np.diff(self._ends, prepend=0) > 0).all()
        if not len(self._ends) or self._ends[-1] != count or not rising:
            raise DataError(
                f"{place}: episode_ends must rise to the {count} steps of data; it ends at "
                f"{self._ends[-1] if len(self._ends) else 'nothing'}. The file is cut short."
            )
        self.embodiment = self._describe()
        self.provenance: dict[str, Any] = {
            "format": "zarr_v2:" + ("umi" if self._robots else "pusht"),
            "converter": "umi",
            "cameras": dict(self._cameras),
            "action": "the pose of the next step" if self._robots else "as recorded",
        }

    def _describe(self) -> Embodiment:
        state, action = PUSHT_STATE, PUSHT_ACTION
        if self._robots:
            state = action = tuple(
                Axis(name=_name(robot, a.name), unit=a.unit, low=a.low, high=a.high)
                for robot in self._robots
                for part in PARTS.values()
                for a in part
            )
        return Embodiment(
            name="umi" if self._robots else "pusht",
            state=state,
            action=action,
            cameras={
                ours: Camera(
                    height=self._data[key].shape[1],
                    width=self._data[key].shape[2],
                    source=f"{'umi' if self._robots else 'pusht'}:{key}",
                    mount="tool" if self._robots else "world",
                )
                for key, ours in self._cameras.items()
            },
            hz=self._config.hz,
            rotation="rotvec" if self._robots else "none",
        )

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[PendingEpisode]:
        """In the order of the buffer."""
        for number in range(len(self._ends)):
            name = f"{self._config.path}, episode {number}"
            yield PendingEpisode(name, partial(self._read, number, name))

    def _read(self, number: int, name: str) -> Trajectory:
        rows = slice(int(self._ends[number - 1]) if number else 0, int(self._ends[number]))
        try:
            return self._assemble(number, rows, name)
        except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(f"{name} cannot be read: {error}. Download it anew.") from error

    def _assemble(self, number: int, rows: slice, name: str) -> Trajectory:
        labels: dict[str, Float32] = {}
        if self._robots:
            state = self._poses(rows, name)
            action = np.concatenate([state[1:], state[-1:]])
        else:
            state = self._numbers("state", rows, name, len(PUSHT_STATE))
            action = self._numbers("action", rows, name, len(PUSHT_ACTION))
            if "keypoint" in self._data:
                points = np.asarray(self._array("keypoint", name)[rows], np.float32)
                labels["keypoint"] = points.reshape(len(points), -1)
        return Trajectory(
            images={
                ours: read_images(self._array(key, name), rows, what=f"{name}, {key}")
                for key, ours in self._cameras.items()
            },
            state=state,
            action=action,
            instruction=self._config.instruction,
            time=self._times(rows, name),
            labels=labels,
            source={"file": Path(self._config.path).name, "episode": number},
        )

    def _poses(self, rows: slice, name: str) -> Float32:
        return np.concatenate(
            [
                self._numbers(f"{robot}_{part}", rows, name, len(axes))
                for robot in self._robots
                for part, axes in PARTS.items()
            ],
            axis=1,
        )

    def _numbers(self, key: str, rows: slice, name: str, width: int) -> Float32:
        return read_numbers(self._array(key, name), rows, what=f"{name}, {key}", width=width)

    def _array(self, key: str, name: str) -> Any:
        """An array whose missing chunks are an error; zarr would give zeros, black pictures."""
        return find(self._data, key, name).with_config({"read_missing_chunks": False})

    def _times(self, rows: slice, name: str) -> NDArray[np.float64]:
        """Recorded times since the episode began where there are some; the even grid otherwise."""
        count = rows.stop - rows.start
        if "timestamp" not in self._data or count < 2:
            return np.arange(count) / self._config.hz
        recorded = np.asarray(self._array("timestamp", name)[rows], np.float64).reshape(-1)
        period = float(np.median(np.diff(recorded)))
        require_rate(1 / period if period > 0 else math.inf, self._config.hz, name)
        return recorded - recorded[0]


def open_zarr(path: Path) -> Any:
    """A zarr v2 group from a folder or a zip file, with imagecodecs' codecs known to zarr.

    Raises:
        DataError: when it is missing, damaged, or no zarr group.
    """
    import zarr
    from imagecodecs.numcodecs import register_codecs
    from zarr.storage import ZipStore

    register_codecs(verbose=False)
    try:
        store = ZipStore(path, mode="r") if path.is_file() else path
        return zarr.open_group(store, mode="r", zarr_format=2)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is no zarr v2 folder or .zarr.zip that can be read: {error}. "
            "Check the path, or download it anew."
        ) from error


def read_all(array: Any, place: str) -> NDArray[Any]:
    """A whole small array. Raises DataError when its chunks are damaged."""
    try:
        return np.asarray(array[:])
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise DataError(f"{place}: {array.path} cannot be read: {error}.") from error


def _name(robot: str, axis: str) -> str:
    """Axes of further robots are told apart by a prefix."""
    return axis if robot == "robot0" else f"{robot}_{axis}"
