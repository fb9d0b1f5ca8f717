"""Live episodes become demonstrations: a World that hands everything on and remembers it.

The recorder sits around a world and knows nothing of who drives it: a policy, a person with
a leader arm, a script. Per tick it keeps the observation and the action that was asked for;
the flight log, where there is one, tells what the gate let through and when. Pictures are
compressed in a thread, and the store is written after the world has been closed, so the
control loop pays a few microseconds a tick.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from vla.contract import World
from vla.data.codec import JpegCodec, restore_codec
from vla.data.manifest import FILE
from vla.data.store import TrajectoryStore
from vla.embodiment import Embodiment
from vla.errors import DataError, VlaError
from vla.runtime.record import FlightLog, read_flight
from vla.types import Float32, Observation, Outcome, Trajectory


def open_recording(
    path: str | Path, embodiment: Embodiment, *, provenance: dict[str, Any]
) -> TrajectoryStore:
    """The store at `path` to add live episodes to; a new one when there is none.

    Args:
        path: folder of the store.
        embodiment: of the robot.
        provenance: of a new store, JSON values; an existing one keeps its own.

    Raises:
        EmbodimentMismatch: when the store belongs to another body or has fewer cameras.
        DataError: when it is damaged, holds labels (a live run has none), or is not in JPEG.
    """
    if not (Path(path) / FILE).is_file():
        return TrajectoryStore.create(path, embodiment=embodiment, provenance=provenance)
    store = TrajectoryStore.open(path)
    store.embodiment.require(embodiment, mine="recording", theirs="robot")
    embodiment.require(store.embodiment, mine="robot", theirs="recording")
    if store.labels:
        raise DataError(
            f"{path} holds episodes with the labels {sorted(store.labels)}, which a live run "
            "cannot give. Record into another folder."
        )
    codec_of(store)
    return store


def codec_of(store: TrajectoryStore) -> JpegCodec:
    """The store's JPEG settings. Raises DataError when its pictures are not JPEG files."""
    codec = restore_codec(store.manifest.codec)
    if not isinstance(codec, JpegCodec):
        raise DataError(
            f"{store.path} keeps lossless pictures; live runs are recorded in JPEG. "
            "Record into another folder."
        )
    return codec


@dataclass(kw_only=True, slots=True)
class _OpenEpisode:
    """What has been gathered since `reset`; one row per tick that was flown to its end."""

    source: dict[str, Any]
    logged: int
    instruction: str
    states: list[Float32] = field(default_factory=list)
    actions: list[Float32] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    images: dict[str, list[Future[bytes]]] = field(default_factory=dict)
    outcome: Outcome | None = None


class EpisodeRecorder:
    """Wraps a world; a context manager, and leaving it commits the episode that is open.

    Every `reset` commits the episode before it. A process that is killed loses the episode it
    was in, never an earlier one. A tick that ended in an error is left out: what the robot
    made of its command is unknown.
    """

    def __init__(
        self,
        world: World,
        store: TrajectoryStore,
        *,
        log: FlightLog | None = None,
        judged: bool = True,
        source: dict[str, Any] | None = None,
    ):
        """Nothing is written yet.

        Args:
            world: what is recorded; the outcome it tells is kept as it is.
            store: see `open_recording`.
            log: the flight log that the world writes, one record per tick: gives the commands
                sent, and the times of ticks and pictures. The log has one time for all
                pictures of a tick, that of the oldest. None: `sent` and `captured` stay
                unknown, and a row's time is its observation's.
            judged: whether the world's outcome means anything; false where nobody judges.
            source: JSON values kept with every episode.
        """
        self.embodiment = world.embodiment
        self._world, self._store, self._log = world, store, log
        self._judged, self._source = judged, source or {}
        self._codec = codec_of(store)
        # At the loop's own priority: a thread that is set back behind other programs while it
        # holds the interpreter's lock would hold the control loop back with it.
        self._encoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._open: _OpenEpisode | None = None
        self._seen: Observation | None = None

    def reset(self, *, seed: int) -> Observation:
        """Commit the last episode, then the wrapped world's reset. Raises DataError."""
        self.commit()
        self._seen = self._world.reset(seed=seed)
        self._open = _OpenEpisode(
            source={**self._source, "seed": seed},
            logged=len(self._log) if self._log is not None else 0,
            instruction=self._seen.instruction,
            images={name: [] for name in self.embodiment.cameras},
        )
        return self._seen

    def step(self, action: Float32) -> Observation:
        """The wrapped world's step, which becomes a row when it succeeds."""
        episode, before = self._open, self._seen
        if episode is None or before is None:
            raise DataError("An episode begins with reset; step came first.")
        try:
            following = self._world.step(action)
        except VlaError as error:
            episode.source["fault"] = type(error).__name__
            raise
        episode.states.append(before.state[-1])
        episode.actions.append(np.array(action, np.float32))
        episode.times.append(before.time)
        for name, frames in episode.images.items():
            frames.append(self._encoder.submit(self._codec.encode, before.images[name][-1]))
        self._seen = following
        return following

    def outcome(self) -> Outcome:
        """The wrapped world's, remembered."""
        outcome = self._world.outcome()
        if self._open is not None:
            self._open.outcome = outcome
        return outcome

    def close(self) -> None:
        """Close the wrapped world: a robot halts. The episode is committed on leaving."""
        self._world.close()

    def commit(self) -> None:
        """Write the open episode, if a tick of it was flown; takes as long as the disk does.

        Raises:
            DataError: when the store refuses it, e.g. an action that is not finite.
        """
        episode, self._open = self._open, None
        if episode is not None and episode.states:
            self._store.append(self._assemble(episode))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.commit()
        except VlaError as second:
            if error is None:
                raise
            error.add_note(f"The episode could not be recorded either: {second}")
        finally:
            self._encoder.shutdown()

    def _assemble(self, episode: _OpenEpisode) -> Trajectory:
        count = len(episode.states)
        times, sent, captured = np.array(episode.times, np.float64), None, {}
        if self._log is not None:
            ticks = read_flight(self._log.path).ticks[episode.logged : episode.logged + count]
            if len(ticks) != count:
                raise DataError(
                    f"Flight log {self._log.path} has {len(ticks)} records for the {count} ticks "
                    "of the episode; give the recorder the log that its world writes."
                )
            times, sent = ticks["time"].copy(), ticks["sent"].copy()
            captured = {name: ticks["image_time"] - times[0] for name in episode.images}
            episode.source["flight"] = self._log.path.name
        outcome = episode.outcome if self._judged else None
        return Trajectory(
            images={name: [f.result() for f in files] for name, files in episode.images.items()},
            state=np.stack(episode.states),
            action=np.stack(episode.actions),
            instruction=episode.instruction,
            time=times - times[0],
            sent=sent,
            captured=captured,
            success=outcome.success if outcome is not None else None,
            source=episode.source,
        )
