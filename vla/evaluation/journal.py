"""Episodes on disk: one JSON line each, appended as they end, so that a run can be resumed."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vla.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeResult:
    """What is kept of one episode.

    Attributes:
        task, seed: which episode.
        instruction: as the policy read it in the first observation.
        success: the world's verdict after the last tick.
        steps: control ticks run.
        reason: the world's words, or "out of steps".
        first_frame: SHA-256 of the first observation's images, hex; equal seeds must agree.
        actions: SHA-256 of all float32 actions in order, hex; equal runs must agree.
        seconds: wall time of the episode, waiting for other episodes included.
        inference_ms: mean duration of the batches its plans were made in.
        plans: how often the policy was asked.
        figures: what else was measured: "seam_jerk" and "inner_jerk" (see `probes.SeamMeter`),
            "wrong_grasps" where the world counts them.
    """

    task: str
    seed: int
    instruction: str
    success: bool
    steps: int
    reason: str
    first_frame: str
    actions: str
    seconds: float
    inference_ms: float
    plans: int
    figures: dict[str, float] = field(default_factory=dict)


class Journal:
    """An append-only file of episode results."""

    def __init__(self, path: Path):
        """Open or create `path`; a line cut off by a kill is removed.

        Raises:
            DataError: when a whole line is not an episode.
        """
        self._path = path
        self.episodes = self._read()

    def _read(self) -> dict[tuple[str, int], EpisodeResult]:
        if not self._path.exists():
            return {}
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._path, whole)
        episodes = {}
        for number, line in enumerate(content[:whole].decode().splitlines(), start=1):
            try:
                result = EpisodeResult(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{self._path}, line {number} is not an episode ({error}). "
                    "Evaluate into a new directory, or remove that line."
                ) from error
            episodes[result.task, result.seed] = result
        return episodes

    def append(self, result: EpisodeResult) -> None:
        """Write one line in a single call and wait until the disk has it."""
        line = json.dumps(asdict(result)) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.episodes[result.task, result.seed] = result
