"""robomimic and LIBERO demonstrations: HDF5 with data/demo_<n>/{actions, obs/<key>}.

Layout: robomimic v0.1 to v0.3 (docs "Dataset structure") and LIBERO's create_dataset.py. Both
drive robosuite's OSC_POSE controller, whose action is dx, dy, dz, a rotation vector and a
gripper, each from -1 to 1: the numbers are kept bit for bit with unit "1" (the controller's
output_max, usually 0.05 m and 0.5 rad, says what 1 means; it is in the provenance), but the
gripper, which is -1 open and +1 closed in robosuite, becomes 1 open and 0 closed.

Pictures are stored upright. robomimic writes them so; LIBERO writes OpenGL's rows, bottom
first. All public LIBERO policies and RLDS copies turn these by 180 degrees, which is upright
but swaps left and right against a true view; "rot180" does the same so that data and
checkpoints meet, "flip" gives the true view. An evaluation must turn in the same way.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla.data.convert.arrays import (
    choose_cameras,
    find,
    numeric_order,
    read_images,
    read_json,
    read_numbers,
    read_text,
    require_equal_lengths,
    require_rate,
)
from vla.data.convert.conversion import PendingEpisode
from vla.data.convert.hdf5 import list_hdf5, open_hdf5
from vla.data.convert.robomimic_axes import (
    WXYZ,
    action_axes,
    find_moves,
    open_is_one,
    state_axes,
)
from vla.embodiment import Camera, Embodiment
from vla.errors import DataError
from vla.types import Float32, Trajectory

if TYPE_CHECKING:
    from vla.data.convert.config_arrays import RobomimicConfig


class RobomimicSource:
    """Episodes of one file, or of all files of a folder (a LIBERO suite has one per task).

    Args:
        config: see `RobomimicConfig`.

    Raises:
        DataError: when no file holds a readable demonstration.
        UnknownChoice: for a camera or state key that does not exist.
    """

    def __init__(self, config: "RobomimicConfig"):
        self._config = config
        self._state = state_axes(config.state)
        self._cameras: dict[str, str] = dict(config.cameras)
        self._entries: list[tuple[Path, str, DataError | None]] = []
        self.provenance: dict[str, Any] = {}
        found: Embodiment | None = None
        for path in list_hdf5(config.path):
            try:
                with open_hdf5(path) as file:
                    data = find(file, "data", str(path))
                    demos = numeric_order(sorted(k for k in data if re.fullmatch(r"demo_\d+", k)))
                    if not demos:
                        raise DataError(f"{path} has no data/demo_<n>.")
                    found = found or self._describe(data, data[demos[0]], f"{path}, {demos[0]}")
            except DataError as error:
                self._entries.append((path, "", error))
            else:
                self._entries += [(path, demo, None) for demo in demos]
        if found is None:
            raise self._entries[0][2] or DataError(f"{config.path} holds no demonstration.")
        self.embodiment = found

    def _describe(self, data: Any, demo: Any, place: str) -> Embodiment:
        config = self._config
        gripper = "open_is_one" if config.flip_gripper else "none"
        obs = find(demo, "obs", place)
        pictures = [k for k in obs if getattr(obs[k], "shape", ())[3:] == (3,)]
        self._cameras = choose_cameras(config.cameras, pictures)
        width = find(demo, "actions", place).shape[-1]
        self.provenance = {
            "format": f"hdf5:{config.kind}",
            "converter": "robomimic",
            "cameras": dict(self._cameras),
            "images": config.images,
            "flip_gripper": config.flip_gripper,
            "drop_noops": config.drop_noops,
            "env_args": read_json(data.attrs.get("env_args", "{}"), f"{place}: env_args"),
        }
        return Embodiment(
            name=config.robot,
            state=self._state,
            action=action_axes(width, config.mode, gripper=gripper),
            cameras={
                ours: Camera(
                    height=obs[key].shape[1],
                    width=obs[key].shape[2],
                    source=f"{config.kind}:{key}:{config.images}",
                )
                for key, ours in self._cameras.items()
            },
            hz=config.hz,
            rotation="rotvec",
            gripper=gripper,
        )

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[PendingEpisode]:
        """File by file, demonstrations in the order of their numbers."""
        for path, demo, error in self._entries:
            name = f"{path}, {demo}" if demo else str(path)
            yield PendingEpisode(name, partial(self._read, path, demo, error))

    def _read(self, path: Path, demo: str, error: DataError | None) -> Trajectory:
        if error is not None:
            raise error
        place, config = f"{path}, {demo}", self._config
        with open_hdf5(path) as file:
            data = find(file, "data", str(path))
            group = find(data, demo, str(path))
            obs = find(group, "obs", place)
            env = read_json(data.attrs.get("env_args", "{}"), f"{path}: env_args")
            settings = env.get("env_kwargs") or {}
            require_rate(float(settings.get("control_freq") or config.hz), config.hz, str(path))
            arrays = {"actions": find(group, "actions", place)}
            arrays |= {k: find(obs, k, place) for k in (*config.state, *self._cameras)}
            count = require_equal_lengths({k: len(a) for k, a in arrays.items()}, place)
            action = read_numbers(
                arrays["actions"], np.s_[:], what=f"{place}, actions", width=self._width
            )
            keep = find_moves(action) if config.drop_noops else np.ones(count, bool)
            if not keep.any():
                raise DataError(f"{place}: every step is a no-op. Give source.drop_noops=false.")
            images = {
                ours: read_images(arrays[key], np.s_[:], what=f"{place}, {key}", turn=config.images)
                for key, ours in self._cameras.items()
            }
            return Trajectory(
                images={name: frames[keep] for name, frames in images.items()},
                state=self._read_state(arrays, place)[keep],
                action=(open_is_one(action) if config.flip_gripper else action)[keep],
                instruction=config.instruction or _instruction(data, path),
                time=np.arange(count)[keep] / config.hz,
                success=None if settings.get("reward_shaping") else _success(group),
                source={"file": path.name, "demo": demo, "dropped": int(count - keep.sum())},
            )

    @property
    def _width(self) -> int:
        return len(self.embodiment.action)

    def _read_state(self, arrays: dict[str, Any], place: str) -> Float32:
        parts = []
        for key in self._config.state:
            width = len(state_axes([key]))
            part = read_numbers(arrays[key], np.s_[:], what=f"{place}, obs/{key}", width=width)
            parts.append(part[:, WXYZ] if key.endswith("eef_quat") else part)
        return np.concatenate(parts, axis=1)


def _success(group: Any) -> bool | None:
    """Sparse rewards are 1 where the task is solved; None when there are none."""
    return bool(np.any(group["rewards"][:] > 0)) if "rewards" in group else None


def _instruction(data: Any, path: Path) -> str:
    """LIBERO's words for the file's task; robomimic has none. Raises DataError."""
    info = read_json(data.attrs.get("problem_info", "{}"), f"{path}: problem_info")
    words = read_text(info.get("language_instruction", ""), f"{path}: language_instruction")
    words = words.strip('" ')  # some suites keep the quotes of their task files
    if not words:
        raise DataError(f"{path} does not say what to do; give source.instruction=...")
    return words
