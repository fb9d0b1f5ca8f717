"""The job of `vla reproduce`."""

import re
from dataclasses import dataclass

from omegaconf import MISSING

from vla.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class ReproduceJob:
    """Run one episode of an evaluation again and compare outcome and actions, bit by bit.

    Ends with status 1 when they differ; then it says what else does: packages, machine.

    Attributes:
        run: a folder that `vla eval` has written, or its report.html.
        episode: TASK:SEED, as in episodes.jsonl and below the report's films.
        condition: which condition of the run.
        checkpoint: where the weights lie now; "": where they lay. Their hash must be the same.
        film: an MP4 file to write the episode to; "": none.
    """

    run: str = MISSING
    episode: str = MISSING
    condition: str = "given"
    checkpoint: str = ""
    film: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r".+:\d+", self.episode) and self.episode != MISSING:
            raise ConfigError(f"episode is {self.episode!r}; give TASK:SEED, e.g. lift:1000003.")
