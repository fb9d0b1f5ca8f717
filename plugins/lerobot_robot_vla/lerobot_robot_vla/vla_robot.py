"""A robot of the vla stack as a LeRobot Robot, for lerobot-record, lerobot-rollout and the rest.

    lerobot-record --robot.type=vla --robot.robot=koch --robot.options='{port: /dev/ttyUSB0}' ...

Keys are "<axis>.pos" for absolute axes and "<axis>" for deltas; values are in SI units (rad,
m, gripper 0..1), not in LeRobot's degrees and percent. Every action crosses the safety gate;
what was sent comes back, as LeRobot's interface wants it.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lerobot.robots import Robot as LerobotRobot
from lerobot.robots import RobotConfig as LerobotRobotConfig

from configs.restoring import restore_config
from robot_drivers.cameras import CameraSource, NoCameras, check_frames
from robot_drivers.gate import SafetyGate
from vla.contract import Robot
from vla.embodiment import Axis
from vla.errors import RobotError


@LerobotRobotConfig.register_subclass("vla")
@dataclass(kw_only=True)
class VlaRobotConfig(LerobotRobotConfig):
    """Which robot.

    Attributes:
        robot: as in `vla run robot=...`; a simulated one has no place here.
        options: its keys, as in `vla run robot.KEY=...`.
    """

    robot: str
    options: dict[str, Any] = field(default_factory=dict)


class VlaRobot(LerobotRobot):
    """Implements LeRobot's interface over a `Robot` and its `SafetyGate`."""

    config_class = VlaRobotConfig
    name = "vla"

    def __init__(
        self,
        config: VlaRobotConfig,
        robot: Robot | None = None,
        gate: SafetyGate | None = None,
        cameras: CameraSource | None = None,
    ):
        """Build robot and gate from `config`, unless they are given."""
        super().__init__(config)
        if robot is None:
            options = restore_config("robot", {"kind": config.robot, **config.options})
            robot = options.build(None)
            gate = options.gate.build(robot.embodiment)
        if gate is None:
            raise RobotError("A robot without a safety gate is not handed to LeRobot.")
        own = robot if isinstance(robot, CameraSource) else NoCameras()
        self._robot, self._gate, self._cameras = robot, gate, cameras or own
        self._connected = False
        self._state, self._time = np.empty(0, np.float32), 0.0

    @property
    def observation_features(self) -> dict[str, Any]:
        """Each state axis a float, each camera its (H, W, 3)."""
        body = self._robot.embodiment
        return {
            **{key_of(axis): float for axis in body.state},
            **{name: (camera.height, camera.width, 3) for name, camera in body.cameras.items()},
        }

    @property
    def action_features(self) -> dict[str, Any]:
        """Each action axis a float."""
        return {key_of(axis): float for axis in self._robot.embodiment.action}

    @property
    def is_connected(self) -> bool:
        """Between `connect` and `disconnect`."""
        return self._connected

    @property
    def is_calibrated(self) -> bool:
        """Our drivers refuse to connect otherwise."""
        return True

    def connect(self, calibrate: bool = True) -> None:
        """Open the robot; refuse a start outside its limits. Raises RobotError."""
        self._robot.connect()
        self._gate.reset()
        self._connected = True
        self._state, self._time = self._robot.read()
        if problems := self._gate.check_start(self._state):
            self.disconnect()
            raise RobotError(f"The arm may not start here: {'; '.join(problems)}.")

    def calibrate(self) -> None:
        """Nothing: see `is_calibrated`."""

    def configure(self) -> None:
        """Nothing: the driver configures on connecting."""

    def get_observation(self) -> dict[str, Any]:
        """State in SI units and the newest pictures. Raises RobotError."""
        self._require_connected()
        self._state, self._time = self._robot.read()
        frames = self._cameras.latest()
        check_frames(frames, self._robot.embodiment)
        values = {
            key_of(axis): float(value)
            for axis, value in zip(self._robot.embodiment.state, self._state, strict=True)
        }
        return {**values, **{name: picture for name, (picture, _) in frames.items()}}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Send what the gate lets through, or its hold; returns what was sent."""
        self._require_connected()
        axes = self._robot.embodiment.action
        wanted = np.array([action[key_of(axis)] for axis in axes], np.float32)
        age = time.monotonic() - self._time
        verdict = self._gate.judge(wanted, state=self._state, age=age)
        sent = self._robot.write(verdict.sent)
        return {key_of(axis): float(value) for axis, value in zip(axes, sent, strict=True)}

    def disconnect(self) -> None:
        """Halt and close; torque stays on."""
        if self._connected:
            self._connected = False
            try:
                self._robot.halt()
            finally:
                self._robot.close()

    def _require_connected(self) -> None:
        if not self._connected:
            raise RobotError("The robot is not connected.")


def key_of(axis: Axis) -> str:
    """LeRobot's key of an axis."""
    return axis.name if axis.mode == "delta" else f"{axis.name}.pos"


def as_lerobot(robot: Robot, gate: SafetyGate, *, cameras: CameraSource | None = None) -> VlaRobot:
    """Any `Robot`, behind its gate, as a LeRobot Robot."""
    config = VlaRobotConfig(robot=robot.embodiment.name, id=robot.embodiment.name)
    return VlaRobot(config, robot, gate, cameras)
