"""The metadata of a LeRobot data set, versions 2.0, 2.1 and 3.0: what lies in which file.

Versions 2.x keep one Parquet table and one MP4 per episode and camera and list the episodes
in meta/episodes.jsonl; version 3.0 packs many episodes into each file and lists in
meta/episodes/*.parquet where each lies. Layouts as read from lerobot 0.6.1 and from public
sets. meta/stats.json is never read: its quantiles are averages of per-episode quantiles.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vla.errors import DataError

VERSIONS = ("v2.0", "v2.1", "v3.0")
V2_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
V2_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """Where one episode's frames of one camera lie.

    Attributes:
        path: the MP4 file.
        start, stop: seconds into the file; None when it holds this episode and nothing else.
    """

    path: Path
    start: float | None = None
    stop: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeEntry:
    """One line of the episode list.

    Attributes:
        index: LeRobot's episode number.
        length: rows it must have.
        table: the Parquet file with its rows (and those of others, in version 3.0).
        clips: by feature key, of the cameras kept as video.
        success: None when the list does not say.
    """

    index: int
    length: int
    table: Path
    clips: dict[str, Clip]
    success: bool | None = None


class LerobotFolder:
    """A LeRobot data set on disk.

    Attributes:
        info: meta/info.json.
        version: one of VERSIONS.
        features: by key, as info.json declares them.
        fps: rows per second.
        tasks: text by task_index.
        episodes: in order of their index.
        modality: GR00T's meta/modality.json; empty when there is none.

    Raises:
        DataError: when a metadata file is missing or not understood.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder)
        self.info = read_json(self.path / "meta/info.json")
        try:
            self.version = str(self.info["codebase_version"])
            if self.version not in VERSIONS:
                raise DataError(
                    f"{self.path} is a LeRobot data set of version {self.version}; "
                    f"{', '.join(VERSIONS)} are read. Convert it with LeRobot's own scripts first."
                )
            self.features: dict[str, dict[str, Any]] = dict(self.info["features"])
            self.fps = float(self.info["fps"])
            self.tasks = self._read_tasks()
            entries = self._list_v3() if self.version == "v3.0" else self._list_v2()
            self.episodes = sorted(entries, key=lambda entry: entry.index)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"{self.path}/meta is not LeRobot metadata: {error!r}.") from error
        modality = self.path / "meta/modality.json"
        self.modality: dict[str, Any] = read_json(modality) if modality.exists() else {}

    @property
    def videos(self) -> list[str]:
        """Keys of the features kept as video."""
        return [key for key, spec in self.features.items() if spec["dtype"] == "video"]

    def _read_tasks(self) -> dict[int, str]:
        if self.version != "v3.0":
            rows = _read_lines(self.path / "meta/tasks.jsonl")
            return {int(row["task_index"]): str(row["task"]) for row in rows}
        table = read_table(self.path / "meta/tasks.parquet")
        # pandas calls the column of an unnamed index __index_level_0__.
        text = next(name for name in table.column_names if name != "task_index")
        texts = table[text].to_pylist()
        return dict(zip(table["task_index"].to_pylist(), map(str, texts), strict=True))

    def _list_v2(self) -> Iterator[EpisodeEntry]:
        for row in _read_lines(self.path / "meta/episodes.jsonl"):
            index = int(row["episode_index"])
            names = {
                "episode_index": index,
                "episode_chunk": index // int(self.info.get("chunks_size", 1000)),
            }
            clips = {
                key: Clip(
                    path=self._locate(self.info["video_path"], V2_VIDEO, video_key=key, **names)
                )
                for key in self.videos
            }
            yield EpisodeEntry(
                index=index,
                length=int(row["length"]),
                table=self._locate(self.info["data_path"], V2_DATA, **names),
                clips=clips,
                success=_read_flag(row.get("success")),
            )

    def _list_v3(self) -> Iterator[EpisodeEntry]:
        files = sorted((self.path / "meta/episodes").glob("*/*.parquet"))
        if not files:
            raise DataError(f"{self.path}/meta/episodes holds no Parquet file. Copy the set anew.")
        for file in files:
            names = [
                name for name in pq.read_schema(file).names if not name.startswith(("stats/",))
            ]
            for row in read_table(file, names).to_pylist():
                yield self._entry_v3(row)

    def _entry_v3(self, row: dict[str, Any]) -> EpisodeEntry:
        def place(prefix: str) -> dict[str, int]:
            return {key: int(row[f"{prefix}/{key}"]) for key in ("chunk_index", "file_index")}

        clips = {}
        for key in self.videos:
            prefix = f"videos/{key}"
            path = self._locate(self.info["video_path"], video_key=key, **place(prefix))
            start, stop = (float(row[f"{prefix}/{end}_timestamp"]) for end in ("from", "to"))
            clips[key] = Clip(path=path, start=start, stop=stop)
        return EpisodeEntry(
            index=int(row["episode_index"]),
            length=int(row["length"]),
            table=self._locate(self.info["data_path"], **place("data")),
            clips=clips,
            success=_read_flag(row.get("success")),
        )

    def _locate(self, *templates: str, **names: Any) -> Path:
        """The first template's path that exists, else the first.

        Public v2.0 sets exist whose own template is wrong (GR00T's sample puts the episode
        number where the chunk's belongs), so the format's usual path is the second try.
        """
        paths = [self.path / template.format(**names) for template in templates]
        for path in paths:
            if not path.resolve().is_relative_to(self.path.resolve()):
                raise DataError(f"{self.path}/meta/info.json points outside its folder: {path}.")
        return next((path for path in paths if path.exists()), paths[0])


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises DataError."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}. Give the folder that holds meta/, data/ and videos/."
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is not a JSON object.")
    return value


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file. Raises DataError naming it."""
    try:
        return pq.ParquetFile(path).read(columns)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}. Copy the file anew.") from error


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file."""
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Copy the file anew.") from error


def _read_flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
