"""LeRobot's own robot, opened so that it cannot block, drop the arm or hide a fault.

LeRobot 0.6.1 waits 50 ms per try for a lost answer, takes late answers for new ones, measures
its timeouts on the wall clock, and switches torque off when it disconnects. Its classes stay
as they are; the open port gets other timeouts.
"""

import fcntl
import math
import termios
from collections.abc import Callable
from textwrap import shorten
from typing import Any

from robot_drivers.config_lerobot import LerobotArmConfig
from robot_drivers.lerobot_choice import find_schema, make_chosen
from robot_drivers.lerobot_port import bound_waiting
from vla.errors import ArmStopped, RobotError

DEVICE_ERRORS = (OSError, RuntimeError, ValueError, TypeError, IndexError, termios.error)
"""What LeRobot and its SDKs raise when a device fails (IndexError: an answer cut short)."""
WATCHDOG_UNIT = 0.02
OPEN_TRIES = 3
"""LeRobot sets up an arm in some 160 exchanges and gives up at the first that is lost."""
OPEN_PATIENCE = 0.25
"""Seconds for an answer while nothing moves yet; LeRobot's own 50 ms are short on a busy PC."""
ALARMS = {
    "Hardware_Error_Status": {
        0: "voltage",
        2: "overheated",
        3: "encoder",
        4: "shock",
        5: "overload",
    },
    "Status": {0: "voltage", 1: "encoder", 2: "overheated", 3: "current", 5: "overload"},
}
"""Bits by register: Dynamixel X (70, emanual.robotis.com), Feetech STS (65, memory table)."""


def make_device(config: LerobotArmConfig) -> Any:
    """LeRobot's Robot for `config`, without cameras, not connected.

    Raises:
        UnknownChoice, ConfigError: for a type or options that LeRobot does not have.
    """
    from lerobot import robots
    from lerobot.robots.utils import make_robot_from_config

    schema = find_schema(robots, robots.RobotConfig, config.type)
    calm = {"disable_torque_on_disconnect": False, "use_degrees": True, "num_read_retries": 0}
    return make_chosen(config, schema, make=make_robot_from_config, calm=calm)


def read_scales(device: Any) -> dict[str, tuple[float, float, float]]:
    """Per motor of a servo bus: SI units per unit of LeRobot, and the limits in SI units.

    Joints come in rad with zero in the middle of the calibrated range, grippers in 0..1. A
    motor that is not calibrated is left out. Robots without a servo bus give nothing.
    """
    bus, scales = getattr(device, "bus", None), {}
    for name, motor in getattr(bus, "motors", {}).items():
        calibration = device.calibration.get(name)
        if calibration is None:
            continue
        ticks = bus.model_resolution_table[motor.model] - 1
        half = (calibration.range_max - calibration.range_min) * math.pi / ticks
        mode = motor.norm_mode.value
        if mode == "range_0_100":
            scales[name] = (0.01, 0.0, 1.0)
        else:
            scale = math.pi / 180 if mode == "degrees" else half / 100
            scales[name] = (scale, -half, half)
    return scales


def open_device(device: Any, config: LerobotArmConfig) -> None:
    """Connect without moving and without dropping an arm that is held already.

    Raises:
        RobotError: when nothing answers, another program has the port, or the servos'
            calibration is not that of the file.
    """
    remedy = f"lerobot-calibrate --robot.type={config.type} --robot.port={config.port or '...'}"
    try:
        if hasattr(getattr(device, "bus", None), "port_handler"):
            told = f"{remedy} --robot.id={config.id}"
            try_patiently(device, lambda: _open_bus(device, config, told))
        else:
            if not device.is_calibrated:
                raise RobotError(f"{config.type} {config.id!r} is not calibrated; run {remedy}.")
            device.connect(calibrate=False)
    except DEVICE_ERRORS as error:
        close_device(device)
        raise RobotError(
            f"{config.type} on {config.port or 'its device'} does not connect: {explain(error)} "
            "Check power, cable and port (lerobot-find-port), then try again."
        ) from error
    except RobotError:
        close_device(device)
        raise


def try_patiently(device: Any, open_bus: Callable[[], None]) -> None:
    """Call `open_bus` until it succeeds, a few times; the port is closed in between."""
    for left in reversed(range(OPEN_TRIES)):
        try:
            return open_bus()
        except DEVICE_ERRORS:
            if not left:
                raise
            device.bus.port_handler.is_using = False
            close_device(device)


def _open_bus(device: Any, config: LerobotArmConfig, remedy: str) -> None:
    bus = device.bus
    if not device.calibration:
        raise RobotError(
            f"No calibration file {device.calibration_fpath}; run {remedy}, or set robot.id "
            "and robot.calibration_dir."
        )
    bound_waiting(bus, OPEN_PATIENCE)
    bus.connect()
    try:
        fcntl.flock(bus.port_handler.ser.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RobotError(f"Another program drives the arm on {config.port}; end it.") from error
    if not bus.is_calibrated:
        raise RobotError(
            f"The servos on {config.port} do not have the calibration of "
            f"{device.calibration_fpath}: another arm, or new servos. Run {remedy}."
        )
    held = bus.sync_read("Torque_Enable", normalize=False, num_retry=2)
    if not all(held.values()):  # else configured and held by an earlier run: do not drop it
        device.configure()
    bound_waiting(bus, config.io_timeout)
    arm_watchdog(bus, config.watchdog)


def arm_watchdog(bus: Any, seconds: float) -> bool:
    """Set the servos' own watchdog; 0 switches it off. Whether they have one."""
    if not all("Bus_Watchdog" in bus.model_ctrl_table[model] for model in bus.models):
        return False
    for motor in bus.motors:
        bus.write("Bus_Watchdog", motor, 0, num_retry=2)  # clears one that fired
        if seconds:
            bus.write("Bus_Watchdog", motor, math.ceil(seconds / WATCHDOG_UNIT), num_retry=2)
    return True


def check_alarms(device: Any) -> None:
    """Raise ArmStopped, naming servos and reasons, when one reports a hardware error.

    Robots without a servo bus, and servos without the register, tell nothing. A servo with an
    error has taken its torque off or is about to; only a restart of the servo clears it.
    """
    bus = getattr(device, "bus", None)
    tables = getattr(bus, "model_ctrl_table", None)
    if tables is None:
        return
    for register, names in ALARMS.items():
        if not all(register in tables[model] for model in bus.models):
            continue
        bits = bus.sync_read(register, normalize=False)
        if any(bits.values()):  # nobody should land an arm for one bad answer
            bus.port_handler.clearPort()
            again = bus.sync_read(register, normalize=False)
            bits = {motor: word & again[motor] for motor, word in bits.items()}
        found = {
            motor: [name for bit, name in names.items() if word >> bit & 1]
            for motor, word in bits.items()
        }
        if said := ", ".join(f"{m}: {' and '.join(w)}" for m, w in found.items() if w):
            raise ArmStopped(
                f"Servos have stopped by themselves ({said}). Support the arm, remove the "
                "cause, switch its power off and on, then connect again."
            )


def close_device(device: Any) -> None:
    """Close the port; torque stays as it is. A closed device is not opened again: make another."""
    bus = getattr(device, "bus", None)
    port = getattr(bus, "port_handler", None)
    if port is None:
        if device.is_connected:
            device.disconnect()
        return
    if port.is_open:
        port.closePort()


def explain(error: BaseException) -> str:
    """A library's message on one line, shortened, ending like a sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{shorten(text, 200, placeholder=' ...').rstrip('.!')}."
