"""An arm behind one of LeRobot's drivers, as a `Robot`: SI units, capture times, typed errors.

Every exchange is bounded (see `lerobot_port`). A lost answer is an error: `link.BridgedRobot`
bridges the first ones.
Torque stays on from `connect` to `release`, over `halt`, `close` and every error: these arms
have no brakes.
"""

import time
from contextlib import suppress
from typing import Any

import numpy as np

from robot_drivers.cameras import Frames
from robot_drivers.config_lerobot import LerobotArmConfig
from robot_drivers.lerobot_device import (
    DEVICE_ERRORS,
    arm_watchdog,
    check_alarms,
    close_device,
    explain,
    make_device,
    open_device,
    read_scales,
)
from vla.embodiment import Axis, Embodiment
from vla.errors import ConfigError, RobotError, ShapeError
from vla.types import Float32

SUFFIX = ".pos"
HOLD_LEAD = 0.05
"""Farthest a hold may lie from the measured pose, rad: what the servos need to carry the arm."""
FIRST_TRIES = 10
ALARM_PERIOD = 0.25
"""Seconds between two looks at the servos' error bits: each costs an exchange."""


class LerobotArm:
    """Implements Robot and CameraSource; `close` it when done, `release` to let it go limp."""

    def __init__(self, config: LerobotArmConfig):
        """Make LeRobot's robot and name its axes; opens nothing.

        Raises:
            ConfigError: when LeRobot does not know the robot, or limits are missing.
        """
        self._config = config
        self._device = make_device(config)
        self._keys = [key for key in self._device.action_features if key.endswith(SUFFIX)]
        others = sorted(set(self._device.action_features) - set(self._keys))
        if others or not self._keys:
            raise ConfigError(
                f"{config.type} also takes {others}; only robots that are moved by joint "
                "positions can be driven."
            )
        axes = self._name_axes()
        self.embodiment = Embodiment(
            name=config.kind if config.kind != "lerobot" else config.type,
            state=axes,
            action=axes,
            cameras={},
            hz=config.hz,
            gripper="open_is_one" if any(axis.unit == "1" for axis in axes) else "none",
        )
        self._state = self._sent = None
        self._time, self._looked = 0.0, 0.0
        self._open = self._watched = False

    @property
    def bounded(self) -> bool:
        """Whether every exchange ends in time: a servo bus, whose time-outs are ours."""
        return hasattr(getattr(self._device, "bus", None), "port_handler")

    def connect(self) -> None:
        """Open the port and read the pose; the arm stays where it is, torque on.

        Raises:
            RobotError: when a device does not answer, is in use, or is not calibrated.
        """
        self.close()
        self._device = make_device(self._config)
        if self._name_axes() != self.embodiment.state:
            raise RobotError(f"The calibration of {self._config.id!r} has changed; begin again.")
        open_device(self._device, self._config)
        self._open, self._state, self._sent = True, None, None
        bus = getattr(self._device, "bus", None)
        self._watched = bool(self._config.watchdog) and "Bus_Watchdog" in next(
            iter(getattr(bus, "model_ctrl_table", {"": {}}).values())
        )
        try:
            for attempt in range(FIRST_TRIES):
                try:
                    self.read()
                    break
                except RobotError:
                    if attempt == FIRST_TRIES - 1:
                        raise
        except RobotError:
            self.close()
            raise

    def read(self) -> tuple[Float32, float]:
        """Joint positions (S,), rad (gripper 0..1, 1 is open), and when they were asked for.

        Raises:
            ArmStopped: when a servo has stopped by itself (overload, heat, voltage).
            RobotError: when the answer is lost.
        """
        self._require_open()
        asked = time.monotonic()
        try:
            self._feed_watchdog(asked)
            values = self._device.get_observation()
            if asked - self._looked >= ALARM_PERIOD:
                self._looked = asked
                check_alarms(self._device)
        except DEVICE_ERRORS as error:
            self._free_port()
            raise RobotError(
                f"{self._config.type} gives no state: {explain(error)} Torque was not touched. "
                "Check power and cables; then connect again."
            ) from error
        self._state, self._time = self._to_si(values), asked
        return self._state.copy(), self._time

    def write(self, action: Float32) -> Float32:
        """Send joint goals (A,), rad and 0..1, and return what LeRobot really sent.

        Servos do not confirm goals: a dead bus shows in the next reads.

        Raises:
            ShapeError: for anything but A finite numbers. RobotError: when the port fails.
        """
        goal = np.asarray(action, np.float32)
        if goal.shape != (len(self._keys),) or not np.isfinite(goal).all():
            raise ShapeError(f"A command has {len(self._keys)} finite numbers; got {action!r}.")
        wanted = (goal / self._scale).astype(float).tolist()
        self._require_open()
        try:
            self._feed_watchdog(time.monotonic())
            sent = self._device.send_action(dict(zip(self._keys, wanted, strict=True)))
        except DEVICE_ERRORS as error:
            self._free_port()
            raise RobotError(
                f"{self._config.type} takes no commands: {explain(error)} Torque was not touched."
            ) from error
        self._sent = self._to_si(sent)
        return self._sent.copy()

    def halt(self) -> None:
        """Stay here, torque on; idempotent. Does nothing when nothing was ever commanded.

        The goal becomes the measured pose, or the last goal where that is close: a servo
        carries load only by a lead over the pose, and giving that up makes the arm sink.
        """
        if not self._open or self._sent is None or self._state is None:
            return
        with suppress(RobotError):  # the bus may be dead: then the last known pose must do
            self.read()
        lead = np.where(self._is_joint, HOLD_LEAD, 1.0)
        self.write(self._state + np.clip(self._sent - self._state, -lead, lead))

    def release(self) -> None:
        """Switch torque off: the arm falls. Only on an operator's explicit order."""
        self._require_open()
        try:
            self._device.bus.disable_torque(num_retry=5)
        except (*DEVICE_ERRORS, AttributeError) as error:
            raise RobotError(
                f"Torque could not be switched off: {explain(error)} Cut the arm's power."
            ) from error

    def latest(self) -> Frames:
        """No pictures: `SeeingArm` has them."""
        return {}

    def close(self) -> None:
        """Close the port; torque stays on. Idempotent."""
        if self._open and self._watched:
            with suppress(*DEVICE_ERRORS):  # gone: the watchdog stops the servos, torque on
                arm_watchdog(self._device.bus, 0.0)
        self._open = False
        close_device(self._device)

    def _name_axes(self) -> tuple[Axis, ...]:
        scales, axes, factors = read_scales(self._device), [], []
        for key in self._keys:
            name = key.removesuffix(SUFFIX)
            if name in self._config.limits:
                low, high = self._config.limits[name]
                scale, _, _ = scales.get(name, (np.pi / 180, 0.0, 0.0))
            elif name in scales:
                scale, low, high = scales[name]
            else:
                raise ConfigError(
                    f"{self._config.type} {self._config.id!r} has no calibrated range of joint "
                    f"{name!r} in {self._device.calibration_fpath}. Calibrate it with "
                    f"lerobot-calibrate, or give robot.limits.{name}=[low, high] in rad."
                )
            factors.append(scale)
            unit = "1" if (low, high) == (0.0, 1.0) else "rad"
            axes.append(Axis(name=name, unit=unit, low=low, high=high, frame="joint"))
        self._scale = np.array(factors)
        self._is_joint = np.array([axis.unit == "rad" for axis in axes])
        return tuple(axes)

    def _to_si(self, values: dict[str, Any]) -> Float32:
        return np.array([values[key] for key in self._keys] * self._scale, np.float32)

    def _require_open(self) -> None:
        if not self._open:
            raise RobotError(f"{self._config.type} is not connected.")

    def _feed_watchdog(self, now: float) -> None:
        """Set the servos' watchdog again after a pause that made it fire."""
        if self._watched and self._state is not None and now - self._time > self._config.watchdog:
            arm_watchdog(self._device.bus, self._config.watchdog)

    def _free_port(self) -> None:
        """A failed exchange leaves LeRobot's port marked as busy."""
        port = getattr(getattr(self._device, "bus", None), "port_handler", None)
        if port is not None:
            port.is_using = False
