"""Options of the ways in which a person drives an arm."""

import math
from dataclasses import dataclass, field
from typing import Any

from vla.embodiment import Embodiment
from vla.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class TeleopConfig:
    """Base: how commands follow a hand.

    Attributes:
        speed: fastest a joint follows, rad/s (the gripper: full strokes per second).
        acceleration: of a joint, rad/s^2; keep both below the gate's limits.
    """

    kind: str = "none"
    speed: float = 1.2
    acceleration: float = 8.0

    def __post_init__(self) -> None:
        for name in ("speed", "acceleration"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"teleop.{name} is {value}; it must be positive and finite.")

    def build(self, embodiment: Embodiment) -> Any:
        """The `TeleopPolicy` for this body, not connected; None: a policy drives."""
        return None


@dataclass(kw_only=True, slots=True)
class LeaderConfig(TeleopConfig):
    """A teleoperator of LeRobot: a leader arm with the follower's joints, or a gamepad.

    Attributes:
        type: LeRobot's name, e.g. "so101_leader", "koch_leader", "gamepad".
        port, id, calibration_dir, options: as for robot=lerobot.
        step: metres per tick and full deflection, for devices that give directions.
        io_timeout: seconds one exchange may wait for an answer.
        losses: exchanges lost in a row after which the leader counts as failed.
    """

    kind: str = "leader"
    type: str = "so101_leader"
    port: str = ""
    id: str = "leader"
    calibration_dir: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    step: float = 0.005
    io_timeout: float = 0.003
    losses: int = 5

    def build(self, embodiment: Embodiment) -> Any:
        """The policy behind the leader. Imports LeRobot, which takes seconds."""
        from robot_drivers.lerobot_leader import Leader
        from robot_drivers.teleop import TeleopPolicy

        return TeleopPolicy(self, embodiment, Leader(self, embodiment))


@dataclass(kw_only=True, slots=True)
class KeyboardConfig(TeleopConfig):
    """The terminal's keyboard, also over ssh: one key up and one key down for each axis.

    Attributes:
        up, down: keys in the order of the action axes.
        linear, angular: speed of the tool where axes are tool deltas, m/s and rad/s.
        joint: speed of joints and gripper, rad/s.
        hold: seconds a key counts as held after the terminal reported it.
    """

    kind: str = "keyboard"
    up: str = "wedrtyui"
    down: str = "sxcfghjk"
    linear: float = 0.08
    angular: float = 0.4
    joint: float = 0.5
    hold: float = 0.15

    def build(self, embodiment: Embodiment) -> Any:
        """The policy behind the keyboard. Raises ConfigError for fewer keys than axes."""
        from robot_drivers.keyboard import Keyboard
        from robot_drivers.teleop import TeleopPolicy

        return TeleopPolicy(self, embodiment, Keyboard(self, embodiment))
