"""A store as a LeRobot v3.0 data set, written by lerobot itself, with exact statistics.

LeRobot keeps states, actions, one task per row, pictures and success. Times, commands sent,
capture times and labels travel as extra columns, embodiment and episode records in
meta/vla.json (see lerobot_extra). Every number comes back bit for bit; pictures do so in
image mode (PNG), while videos are encoded with loss.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.convert.lerobot_extra import CAPTURED, LABELS, SENT, TIME, EpisodeExtra, Extra
from vla.data.convert.lerobot_stats import PixelCounts, write_statistics
from vla.data.store import TrajectoryStore
from vla.errors import DataError, choose
from vla.files import complete_folder
from vla.types import Trajectory

SUCCESS = "next.success"
CODECS: dict[str, dict[str, str]] = {
    "libsvtav1": {},
    "h264": {"bf": "0"},  # lerobot joins films packet by packet, which fails with B-frames
}
"""Video codecs and what they need beyond lerobot's own settings."""


def export(
    store: TrajectoryStore,
    output: str | Path,
    *,
    episodes: Sequence[int] | NDArray[np.int64] | None = None,
    video: bool = True,
    codec: str = "libsvtav1",
    progress: Callable[[int, int], None] | None = None,
) -> Extra:
    """Write episodes of `store` as a LeRobot data set; all or nothing.

    One episode's raw frames stand in memory at a time (about twice over in video mode).

    Args:
        store: the demonstrations.
        output: folder of the new data set.
        episodes: their numbers in the store, in the order wanted; None for all.
        video: MP4 files, small; else PNG inside the tables: lossless, large, slow to read.
        codec: of the videos, one of CODECS.
        progress: told (episodes done, episodes in all) after each episode.

    Returns:
        What went into meta/vla.json; its `left_out` lists what could not be exported.

    Raises:
        DataError: when `output` exists or an episode cannot be said in this format.
        UnknownChoice: for another codec.
    """
    final = Path(output)
    if final.exists():
        raise DataError(f"{final} exists. Give another output, or delete it first.")
    numbers = range(store.num_episodes) if episodes is None else [int(n) for n in episodes]
    if not len(numbers):
        raise DataError(f"{store.path}: no episode to export.")
    with complete_folder(final) as draft:
        writer = LerobotWriter(draft, store, numbers, video=video, codec=codec)
        try:
            for done, number in enumerate(numbers, start=1):
                writer.add(number)
                if progress is not None:
                    progress(done, len(numbers))
        finally:
            writer.close()  # before the draft goes: lerobot would write into it later
        write_statistics(draft, writer.counts)
        extra = writer.extra()
        extra.write(draft)
    return extra


class LerobotWriter:
    """A LeRobot data set in the making.

    Args:
        folder: empty; becomes the data set.
        store: where the episodes are.
        numbers: of those that will come.
        video, codec: as for `export`.
    """

    def __init__(
        self,
        folder: Path,
        store: TrajectoryStore,
        numbers: Sequence[int],
        *,
        video: bool,
        codec: str,
    ):
        self._settings = choose("video codec", codec, CODECS)
        hz = store.embodiment.hz
        if hz != int(hz):
            raise DataError(f"{store.path} runs at {hz} Hz; LeRobot wants a whole number.")
        short = [number for number in numbers if store.records[number].length < 2]
        if video and short:
            raise DataError(
                f"{store.path}: LeRobot makes no films of one frame (episodes {short}). Export "
                "other episodes, or pictures (video=false)."
            )
        self._folder = folder
        self._store = store
        self._kind = "video" if video else "image"
        self._codec = codec
        self._longest = max(store.records[number].length for number in numbers)
        # LeRobot's flag cannot say that nobody judged an episode; then there is no flag.
        self._judged = all(store.records[number].success is not None for number in numbers)
        self._cameras = {f"observation.images.{name}": name for name in store.embodiment.cameras}
        self._dataset: Any = None
        self._records: list[EpisodeExtra] = []
        self._left_out: set[str] = set()
        self.counts = {key: PixelCounts() for key in self._cameras}

    def add(self, number: int) -> None:
        """Write one episode of the store. Raises DataError when LeRobot cannot hold it."""
        trajectory = self._store.episode(number)
        if trajectory.action is None:
            raise DataError(
                f"{self._store.path}, episode {number} has no actions, which LeRobot cannot hold. "
                "Export other episodes."
            )
        if trajectory.depth:
            self._left_out.add("depth pictures: LeRobot's depth films lose precision")
        columns = _gather_columns(trajectory)
        if self._judged:
            judgement = np.zeros((len(trajectory), 1), np.bool_)
            judgement[-1] = trajectory.success
            columns[SUCCESS] = judgement
        if self._dataset is None:
            self._dataset = self._create(columns)
        for row in range(len(trajectory)):
            frame = {key: values[row] for key, values in columns.items()}
            frame |= {key: trajectory.images[name][row] for key, name in self._cameras.items()}
            self._dataset.add_frame({**frame, "task": trajectory.instruction})
        self._dataset.save_episode()
        for key, name in self._cameras.items():
            self.counts[key].add(np.asarray(trajectory.images[name]))
        self._records.append(EpisodeExtra.of(trajectory, self._store.records[number].uid))

    def close(self) -> None:
        """Finish all files; call it whatever happened."""
        if self._dataset is not None:
            self._dataset.finalize()

    def extra(self) -> Extra:
        """What LeRobot's own files do not tell of the episodes written."""
        return Extra(
            embodiment=self._store.embodiment,
            provenance=self._store.provenance,
            cameras=self._cameras,
            episodes=tuple(self._records),
            left_out=tuple(sorted(self._left_out)),
        )

    def _create(self, columns: dict[str, NDArray[Any]]) -> Any:
        """An empty LeRobotDataset with these columns and the cameras."""
        from lerobot.configs import RGBEncoderConfig
        from lerobot.datasets import LeRobotDataset

        embodiment = self._store.embodiment
        names: dict[str, Any] = {
            "observation.state": [axis.name for axis in embodiment.state],
            "action": [axis.name for axis in embodiment.action],
        }
        features: dict[str, dict[str, Any]] = {
            key: {
                "dtype": str(values.dtype),
                "shape": (values.shape[1],),
                "names": names.get(key),
            }
            for key, values in columns.items()
        }
        for key, name in self._cameras.items():
            camera = embodiment.cameras[name]
            features[key] = {
                "dtype": self._kind,
                "shape": (camera.height, camera.width, 3),
                "names": ["height", "width", "channels"],
            }
        self._folder.rmdir()  # lerobot insists on making it
        return LeRobotDataset.create(
            repo_id=f"local/{self._folder.name}",
            root=self._folder,
            fps=int(embodiment.hz),
            robot_type=embodiment.name,
            features=features,
            use_videos=self._kind == "video" and bool(self._cameras),
            rgb_encoder=RGBEncoderConfig(vcodec=self._codec, extra_options=self._settings),
            streaming_encoding=True,
            # It drops frames when its queue is full; this one never is.
            encoder_queue_maxsize=self._longest + 1,
        )


def _gather_columns(trajectory: Trajectory) -> dict[str, NDArray[Any]]:
    """Every number of the episode by LeRobot key, (N, K) each."""
    columns: dict[str, NDArray[Any]] = {
        "observation.state": trajectory.state,
        "action": np.asarray(trajectory.action),
        TIME: trajectory.time[:, None],
    }
    if trajectory.sent is not None:
        columns[SENT] = trajectory.sent
    columns |= {f"{CAPTURED}{key}": times[:, None] for key, times in trajectory.captured.items()}
    columns |= {f"{LABELS}{key}": values for key, values in trajectory.labels.items()}
    return columns
