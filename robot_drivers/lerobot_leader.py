"""A teleoperator of LeRobot as a `Hand`: leader arms joint by joint, gamepads by direction."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_drivers.config_teleop import LeaderConfig
from robot_drivers.lerobot_choice import find_schema, make_chosen
from robot_drivers.lerobot_device import (
    DEVICE_ERRORS,
    OPEN_PATIENCE,
    close_device,
    explain,
    read_scales,
    try_patiently,
)
from robot_drivers.lerobot_port import bound_waiting
from vla.embodiment import Embodiment
from vla.errors import RobotError

DIRECTIONS = {"delta_x": "dx", "delta_y": "dy", "delta_z": "dz"}
GRIPPER = {0: 0.0, 2: 1.0}
"""LeRobot's gripper commands: 0 closes, 1 stays, 2 opens."""


class Leader:
    """Implements `Hand`. The leader is limp; a person carries it."""

    def __init__(self, config: LeaderConfig, embodiment: Embodiment, device: Any = None):
        """Make LeRobot's teleoperator; opens nothing.

        Args:
            config: which device.
            embodiment: of the arm that follows.
            device: a LeRobot Teleoperator, instead of the one the config names.
        """
        self._config, self._axes = config, embodiment.action
        self._device = make_teleoperator(config) if device is None else device
        self._last: NDArray[np.float64] | None = None
        self._lost = 0

    def connect(self) -> None:
        """Open the device. Raises RobotError when it is silent, uncalibrated, or does not fit."""
        try:
            bus = getattr(self._device, "bus", None)
            if bus is None:
                self._device.connect()
                return
            try_patiently(self._device, self._open_bus)
        except DEVICE_ERRORS as error:
            self.close()
            raise RobotError(
                f"{self._config.type} on {self._config.port} does not connect: {explain(error)}"
            ) from error
        except RobotError:
            self.close()
            raise
        scales = read_scales(self._device)
        missing = [axis.name for axis in self._axes if axis.name not in scales]
        if missing:
            raise RobotError(
                f"{self._config.type} has no {missing}; a leader needs the joints of its follower "
                f"(it has {sorted(scales)})."
            )

    def goal(self, command: NDArray[np.float64]) -> NDArray[np.float64]:
        """The leader's pose, or a step in the direction a gamepad is pushed."""
        try:
            values = self._device.get_action()
        except DEVICE_ERRORS as error:
            port = getattr(getattr(self._device, "bus", None), "port_handler", None)
            if port is not None:
                port.is_using = False
            self._lost += 1
            if self._last is None or self._lost >= self._config.losses:
                raise RobotError(f"{self._config.type} is silent: {explain(error)}") from error
            return self._last.copy()
        self._lost = 0
        self._last = self._read(values, command)
        return self._last.copy()

    def close(self) -> None:
        """Close the port; idempotent."""
        close_device(self._device)

    def _read(self, values: dict[str, Any], command: NDArray) -> NDArray[np.float64]:
        if any(key in values for key in DIRECTIONS):
            goal = np.array([0.0 if a.mode == "delta" else c for a, c in zip(
                self._axes, command, strict=True)])  # fmt: skip
            wanted = {axis: values.get(key, 0.0) for key, axis in DIRECTIONS.items()}
            for index, axis in enumerate(self._axes):
                if axis.name in wanted:
                    goal[index] = float(wanted[axis.name]) * self._config.step
                elif axis.name == "gripper":
                    goal[index] = GRIPPER.get(int(values.get("gripper", 1)), command[index])
            return goal
        scales = read_scales(self._device)
        return np.array(
            [
                values[f"{axis.name}.pos"] * scales.get(axis.name, (math.pi / 180, 0, 0))[0]
                for axis in self._axes
            ]
        )

    def _open_bus(self) -> None:
        if not self._device.calibration:
            raise RobotError(f"{self._remedy()}: no {self._device.calibration_fpath}.")
        bound_waiting(self._device.bus, OPEN_PATIENCE)
        self._device.bus.connect()
        if not self._device.bus.is_calibrated:
            raise RobotError(f"{self._remedy()}: its servos have another calibration.")
        self._device.configure()
        bound_waiting(self._device.bus, self._config.io_timeout)

    def _remedy(self) -> str:
        return f"Calibrate {self._config.id!r} with lerobot-calibrate --teleop.type=" + (
            self._config.type
        )


def make_teleoperator(config: LeaderConfig) -> Any:
    """LeRobot's Teleoperator. Raises UnknownChoice or ConfigError."""
    from lerobot import teleoperators
    from lerobot.teleoperators.utils import make_teleoperator_from_config

    schema = find_schema(teleoperators, teleoperators.TeleoperatorConfig, config.type)
    calm = {"use_degrees": True}
    return make_chosen(config, schema, make=make_teleoperator_from_config, calm=calm)
