"""LeRobot data sets (version 2.0, 2.1, 3.0) as a source of trajectories, without lerobot."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from vla.data.codec import build_codec
from vla.data.convert.config import LerobotConfig
from vla.data.convert.conversion import PendingEpisode
from vla.data.convert.lerobot_axes import FEATURES, Vector, check_patterns, declare_vector
from vla.data.convert.lerobot_cameras import choose_cameras, read_size, rescale
from vla.data.convert.lerobot_extra import CAPTURED, LABELS, SENT, TIME, EpisodeExtra, Extra
from vla.data.convert.lerobot_folder import EpisodeEntry, LerobotFolder
from vla.data.convert.lerobot_frames import FilmReader, decode_image, gather
from vla.data.convert.lerobot_rows import RowReader, read_matrix
from vla.embodiment import Camera, Embodiment
from vla.errors import ConfigError, DataError
from vla.types import Float32, Subtask, Trajectory, Uint8

JPEG_MAGIC = b"\xff\xd8\xff"
TIMING_TOLERANCE = 0.05
"""Largest relative difference between the timestamps' mean rate and the declared one."""


class LerobotSource:
    """Episodes of a LeRobot data set, streamed; each film is decoded once, forward.

    Raises:
        DataError, ConfigError: when the metadata is damaged, or options are missing or wrong.
    """

    def __init__(self, options: LerobotConfig):
        self._folder = folder = LerobotFolder(options.path)
        self._extra = Extra.read(folder.path, [entry.length for entry in folder.episodes])
        self._cameras = choose_cameras(folder, options.cameras, self._extra)
        if self._extra is None:
            self.embodiment = self._declare(options)
        else:
            self.embodiment = self._restore(options, self._extra)
        self._codec = build_codec(options.codec, self.embodiment.cameras)
        self._columns = self._choose_columns()
        used = {*self._columns, *self._cameras}
        self.provenance: dict[str, Any] = {
            "format": "lerobot",
            "version": folder.version,
            "robot_type": folder.info.get("robot_type"),
            "cameras": dict(self._cameras),
            "ignored_features": sorted(set(folder.features) - used),
            "converter": "lerobot",
        }
        if self._extra is not None:
            self.provenance["exported_from"] = self._extra.provenance

    # -- what the set is ---------------------------------------------------------

    def _declare(self, options: LerobotConfig) -> Embodiment:
        folder = self._folder
        check_patterns(folder, options)
        self._vectors = {what: declare_vector(folder, what, options) for what in FEATURES}
        cameras = {}
        for key, name in self._cameras.items():
            height, width = options.image_size or read_size(folder, key)
            cameras[name] = Camera(height=height, width=width, source=f"lerobot:{key}")
        return Embodiment(
            name=str(folder.info.get("robot_type") or folder.path.name),
            state=self._vectors["state"].axes,
            action=self._vectors["action"].axes,
            cameras=cameras,
            hz=folder.fps,
            rotation=options.rotation,
            gripper=options.gripper,
        )

    def _restore(self, options: LerobotConfig, extra: Extra) -> Embodiment:
        """The store's own embodiment, with the cameras that were asked for."""
        given = (options.unit, options.action_mode, options.frame, options.axes)
        if any(given) or (options.rotation, options.gripper) != ("none", "none"):
            raise ConfigError(
                f"{self._folder.path}/meta/vla.json declares the axes already; leave out "
                "source.unit, action_mode, frame, axes, rotation and gripper."
            )
        vectors = {"state": extra.embodiment.state, "action": extra.embodiment.action}
        self._vectors = {
            what: Vector(
                key=FEATURES[what], width=len(axes), picked=(*range(len(axes)),), axes=axes
            )
            for what, axes in vectors.items()
        }
        cameras = {}
        for key, name in self._cameras.items():
            camera = extra.embodiment.cameras.get(extra.cameras.get(key, ""))
            if camera is None:
                raise DataError(f"{self._folder.path}/meta/vla.json does not know camera {key!r}.")
            cameras[name] = rescale(camera, *(options.image_size or read_size(self._folder, key)))
        return replace(extra.embodiment, cameras=cameras)

    def _choose_columns(self) -> list[str]:
        features = self._folder.features
        columns = [vector.key for vector in self._vectors.values()] + ["timestamp", "task_index"]
        columns += [key for key in self._cameras if features[key]["dtype"] == "image"]
        columns += [key for key in ("next.success",) if key in features]
        if self._extra is not None:
            columns += [key for key in features if key.startswith("vla.")]
        return columns

    # -- reading -------------------------------------------------------------------

    def __len__(self) -> int:
        """How many episodes the set lists."""
        return len(self._folder.episodes)

    def __iter__(self) -> Iterator[PendingEpisode]:
        """Stream the episodes in order of their index."""
        rows = RowReader(self._columns)
        films = {key: FilmReader(self._folder.fps) for key in self._cameras}
        try:
            for number, entry in enumerate(self._folder.episodes):
                name = f"{self._folder.path}, episode {entry.index}"
                yield PendingEpisode(name, partial(self._read, number, entry, rows, films))
        finally:
            for film in films.values():
                film.close()

    def _read(
        self, number: int, entry: EpisodeEntry, rows: RowReader, films: dict[str, FilmReader]
    ) -> Trajectory:
        table = rows.read(entry)
        try:
            stamps = read_matrix(table, "timestamp", 1)[:, 0].astype(np.float64)
            self._check_stamps(stamps)
            instruction, subtasks = self._read_tasks(table)
            success = entry.success
            if "next.success" in self._columns:
                success = bool(read_matrix(table, "next.success", 1).any())
            vectors = {what: self._read_vector(table, v) for what, v in self._vectors.items()}
        except DataError as error:
            raise DataError(f"{entry.table}: {error}") from error
        images = {
            name: self._read_images(key, name, entry, table, films[key])
            for key, name in self._cameras.items()
        }
        trajectory = Trajectory(
            images=images,
            **vectors,
            instruction=instruction,
            time=stamps,
            subtasks=subtasks,
            success=success,
            source={
                "file": str(entry.table.relative_to(self._folder.path)),
                "episode_index": entry.index,
            },
        )
        if self._extra is None:
            return trajectory
        return self._complete(trajectory, self._extra.episodes[number], table)

    def _check_stamps(self, stamps: np.ndarray) -> None:
        steps = np.diff(stamps)
        if not (steps > 0).all():
            row = int(np.argmin(steps > 0)) + 1
            raise DataError(
                f"timestamps do not increase: row {row} is at {stamps[row]:g} s, the one before it "
                f"at {stamps[row - 1]:g} s. Repair or drop the episode."
            )
        if len(steps) and abs(steps.mean() * self._folder.fps - 1) > TIMING_TOLERANCE:
            raise DataError(
                f"rows come every {steps.mean():g} s, info.json says {self._folder.fps:g} per "
                "second. Correct whichever is wrong."
            )

    def _read_vector(self, table: pa.Table, vector: Vector) -> Float32:
        values = read_matrix(table, vector.key, vector.width)[:, vector.picked]
        return np.ascontiguousarray(values, np.float32)

    def _read_tasks(self, table: pa.Table) -> tuple[str, tuple[Subtask, ...]]:
        """One instruction; where the task changes inside an episode, its stretches as well.

        The instruction of such an episode is all its texts in order, joined by "; ".
        """
        indices = read_matrix(table, "task_index", 1)[:, 0]
        cuts = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
        texts = []
        for start in cuts[:-1]:
            if (index := int(indices[start])) not in self._folder.tasks:
                raise DataError(f"row {start} has task_index {index}, which the task list lacks.")
            texts.append(self._folder.tasks[index])
        stretches = zip(cuts[:-1], cuts[1:], texts, strict=True)
        if len(texts) == 1:
            return texts[0], ()
        subtasks = tuple(Subtask(start=a, stop=b, text=text) for a, b, text in stretches)
        return "; ".join(dict.fromkeys(texts)), subtasks

    def _read_images(
        self, key: str, name: str, entry: EpisodeEntry, table: pa.Table, film: FilmReader
    ) -> list[bytes] | Uint8:
        camera = self.embodiment.cameras[name]
        if key in entry.clips:
            pictures = film.read(entry.clips[key], entry.length)
            place = str(entry.clips[key].path)
        else:
            pictures = self._read_cells(table[key], f"{entry.table}, {key!r}")
            place = str(entry.table)
        try:
            return gather(
                pictures,
                source=read_size(self._folder, key),
                target=(camera.height, camera.width),
                codec=self._codec,
            )
        except DataError as error:
            raise DataError(f"{place}, camera {name!r}: {error}") from error

    def _read_cells(self, column: pa.ChunkedArray, place: str) -> Iterator[Uint8 | bytes]:
        """Pictures kept in rows: the file's bytes, or the path of the file."""
        for step, cell in enumerate(column):
            value = cell.as_py()
            content = value["bytes"]
            if content is None:
                path = (self._folder.path / str(value["path"])).resolve()
                if not path.is_file() or not path.is_relative_to(self._folder.path.resolve()):
                    raise DataError(f"{place}, row {step}: the picture {path} is missing.")
                content = path.read_bytes()
            jpeg = content.startswith(JPEG_MAGIC)
            yield content if jpeg else decode_image(content, f"{place}, row {step}")

    def _complete(self, trajectory: Trajectory, extra: EpisodeExtra, table: pa.Table) -> Trajectory:
        """Put back what LeRobot's own fields could not hold."""

        def column(name: str) -> Any:
            return read_matrix(table, name, int(self._folder.features[name]["shape"][0]))

        def family(prefix: str) -> dict[str, Any]:
            keys = [key for key in self._columns if key.startswith(prefix)]
            return {key.removeprefix(prefix): column(key) for key in keys}

        captured = {name: times[:, 0] for name, times in family(CAPTURED).items()}
        return replace(
            trajectory,
            instruction=extra.instruction,
            time=column(TIME)[:, 0],
            sent=column(SENT) if SENT in self._columns else None,
            captured={name: times for name, times in captured.items() if name in trajectory.images},
            labels=family(LABELS),
            subtasks=extra.subtasks,
            success=extra.success,
            source=extra.source,
        )
