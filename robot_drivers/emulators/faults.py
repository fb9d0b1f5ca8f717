"""What can go wrong on a servo bus, as switches."""

from dataclasses import dataclass

from vla.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """All off by default.

    Attributes:
        drop, corrupt: probability that a status packet is lost, or its last byte altered.
        delay: seconds added before every answer (a slow USB adapter).
        mute: the bus behind the adapter is unplugged: nothing arrives, nothing answers.
        dead: ids of servos without power.
        overload: ids of servos that have switched themselves off for overload.
        pinned: names of joints that something blocks.
    """

    drop: float = 0.0
    corrupt: float = 0.0
    delay: float = 0.0
    mute: bool = False
    dead: tuple[int, ...] = ()
    overload: tuple[int, ...] = ()
    pinned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("drop", "corrupt"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"Fault {name} is {getattr(self, name)}; it is a probability.")
        if not self.delay >= 0:
            raise ConfigError(f"Fault delay is {self.delay} s; it must not be negative.")
