"""What `RobotWorld` asks of a robot, of a simulated scene, and of a controller that never waits."""

from typing import Protocol, runtime_checkable

from vla.contract import Robot
from vla.types import Float32, Outcome


@runtime_checkable
class Device(Robot, Protocol):
    """A Robot that can be closed, with torque kept on."""

    def close(self) -> None:
        """Disconnect; idempotent."""
        ...


@runtime_checkable
class Scene(Protocol):
    """What a simulated robot knows and a real one does not: its scene and its success."""

    def arrange(self, *, seed: int) -> str:
        """Set the scene of `seed` up; return the instruction."""
        ...

    def outcome(self) -> Outcome:
        """How the episode stands."""
        ...


@runtime_checkable
class Pilot(Protocol):
    """A controller that does not wait for its plans, so that the world has to ask after them."""

    holding: bool

    def plan_age(self, now: float) -> float:
        """Seconds since the newest plan came."""
        ...

    def sent(self, command: Float32) -> None:
        """Told after every tick: the command that was sent, which a hold makes another."""
        ...
