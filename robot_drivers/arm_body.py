"""How an arm's numbers become a state and its actions a path: its embodiment and its limits."""

from dataclasses import dataclass, field

import numpy as np

from robot_drivers.servo_link import Sample, require_finite
from robot_drivers.servo_path import JointPath, ToolPath
from vla.embodiment import Axis, Embodiment
from vla.errors import RobotError
from vla.types import Float32

PLACES, TURNS = ("x", "y", "z"), ("rx", "ry", "rz")
STEP, TURN = 0.025, 0.15
"""Bounds of one tool step, metres and rad: those of the tabletop's actions."""
GRIPPER = Axis(name="gripper", unit="1", low=0.0, high=1.0, frame="joint")


@dataclass(frozen=True, kw_only=True)
class ArmBody:
    """One arm as a driver sees it.

    Attributes:
        name: of the embodiment.
        low, high: joint limits, rad; their number is the number of joints.
        hz: control rate.
        commands: "joint" (absolute, rad) or "tool" (steps in the base frame, m and rad).
        gripper: whether there is one.
        pose: whether the state carries the tool's pose.
        speed, tool_speed, turn_speed: the driver's own bounds: rad/s per joint, m/s, rad/s.
        joint_lag, tool_lag: how far the arm may trail its commands, rad and m.
    """

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    hz: float
    commands: str = "joint"
    gripper: bool = False
    pose: bool = True
    speed: float = 2.0
    tool_speed: float = 0.5
    turn_speed: float = 2.0
    joint_lag: float = 0.4
    tool_lag: float = 0.1
    embodiment: Embodiment = field(init=False)

    def __post_init__(self) -> None:
        joints = tuple(
            Axis(name=f"joint{i + 1}", unit="rad", low=low, high=high, frame="joint")
            for i, (low, high) in enumerate(zip(self.low, self.high, strict=True))
        )
        grip = (GRIPPER,) if self.gripper else ()
        places = tuple(Axis(name=name, unit="m", low=-2.0, high=2.0) for name in PLACES)
        turns = tuple(Axis(name=name, unit="rad", low=-np.pi, high=np.pi) for name in TURNS)
        body = Embodiment(
            name=self.name,
            state=(*joints, *(places + turns if self.pose else ()), *grip),
            action=(*(joints if self.commands == "joint" else tool_steps()), *grip),
            cameras={},
            hz=self.hz,
            rotation="rotvec" if self.pose or self.commands == "tool" else "none",
            gripper="open_is_one" if self.gripper else "none",
        )
        object.__setattr__(self, "embodiment", body)

    @property
    def axes(self) -> int:
        """Action axes without the gripper."""
        return len(self.low) if self.commands == "joint" else 6

    @property
    def lag(self) -> float:
        """How far the arm may trail, in `lag_unit`."""
        return self.joint_lag if self.commands == "joint" else self.tool_lag

    @property
    def lag_unit(self) -> str:
        """Of `lag`."""
        return "rad" if self.commands == "joint" else "m"

    def state(self, sample: Sample) -> Float32:
        """(S,) float32. Raises RobotError when a sensor is not to be trusted."""
        parts = [sample.joints]
        if self.pose:
            parts.append(self._pose(sample))
        if self.gripper:
            parts.append(np.array([np.nan if sample.grip is None else sample.grip]))
        return require_finite(np.concatenate(parts), f"{self.name}'s state").astype(np.float32)

    def path(self, sample: Sample, now: float) -> JointPath | ToolPath:
        """A path that begins where the arm stands."""
        seconds = 1.0 / self.hz
        if self.commands == "joint":
            return JointPath(sample.joints, seconds=seconds, speed=self.speed, now=now)
        return ToolPath(
            self._pose(sample),
            seconds=seconds,
            speed=self.tool_speed,
            turn_speed=self.turn_speed,
            now=now,
        )

    def _pose(self, sample: Sample) -> np.ndarray:
        if sample.pose is None:
            raise RobotError(
                f"{self.name} does not tell its tool's pose; set robot.pose=false and "
                "robot.commands=joint."
            )
        return sample.pose


def tool_steps() -> tuple[Axis, ...]:
    """Six delta axes of a tool in the base frame: m and rad."""
    places = (Axis(name=f"d{n}", unit="m", low=-STEP, high=STEP, mode="delta") for n in PLACES)
    turns = (Axis(name=f"d{n}", unit="rad", low=-TURN, high=TURN, mode="delta") for n in TURNS)
    return (*places, *turns)
