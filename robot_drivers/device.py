"""What `RobotWorld` asks of a robot, its scene, an operator, and a pilot that never waits."""

from typing import Protocol, runtime_checkable

from vla.contract import Robot
from vla.runtime.states import State
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
class Resumable(Protocol):
    """A pilot that holds when its plan is far away, until an operator agrees to go there."""

    far: bool

    def resume(self) -> None:
        """The operator agrees."""
        ...


@runtime_checkable
class Operator(Protocol):
    """A person beside the robot: is shown what it does, and may let a hold end. Never waits."""

    def show(self, state: State, why: str) -> None:
        """Told every tick."""
        ...

    def resumes(self) -> bool:
        """Whether the person has asked to go on since the last question."""
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
