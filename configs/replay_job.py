"""The job of `vla replay`."""

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass(kw_only=True, slots=True)
class ReplayJob:
    """Compute every command of a flight again from its log; they must be the same, bit for bit.

    Attributes:
        log: a flight log (flight-000.vlalog) of `vla run`, with its plans beside it.
    """

    log: str = MISSING
