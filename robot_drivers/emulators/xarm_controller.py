"""What an xArm 6 controller does with the SDK's requests, without the sockets.

Function numbers and layouts as xarm-python-sdk 1.18.4 sends them: headers are big-endian,
floats little-endian. Replies begin with a state byte: 0x40 an error is present, 0x10 not ready.
"""

import struct

import numpy as np
from scipy.spatial.transform import Rotation

from robot_drivers.emulators.arm_plant import ArmPlant
from robot_drivers.emulators.dh_chain import xarm6_chain

HOME = (0.0, -0.6, -1.2, 0.0, 1.8, 0.0)
LOW = np.array([-6.2832, -2.0595, -3.927, -6.2832, -1.69297, -6.2832])
HIGH = np.array([6.2832, 2.0944, 0.19199, 6.2832, 3.14159, 6.2832])
SERVO_SPEED = np.pi
STEP = 0.35
"""A servo target farther than this from the joints, rad, is error 24 (speed exceeds limit)."""
OUT_OF_RANGE, TOO_FAST, NO_SOLUTION = 23, 24, 25
STOPPED = 4
GRIPPER_OPEN = 850.0
MM = 1000.0


class XArmController:
    """Enable, mode, state, error, and the arm."""

    def __init__(self) -> None:
        self.plant = ArmPlant(chain=xarm6_chain(), q=np.array(HOME))
        self.enabled, self.mode, self.state, self.error = False, 0, STOPPED, 0
        self._tool_registers: dict[bytes, int] = {}
        self._handlers = {
            1: lambda p: b"6,6,XI1300,AC1300,v2.5.0".ljust(40, b"\0"),
            2: lambda p: b"XI1300".ljust(40, b"\0"),
            11: self._enable,
            12: self._set_state,
            13: lambda p: bytes([self._reported()]),
            14: lambda p: b"\0\0",
            15: lambda p: bytes([self.error, 0]),
            16: self._clear,
            19: self._set_mode,
            23: self._move,
            29: self._servo,
            30: lambda p: self._servo_pose(p, "rpy"),
            41: lambda p: struct.pack("<6f", *self.pose()),
            42: self._joints,
            93: lambda p: self._servo_pose(p, "rotvec"),
            124: self._tool_modbus,
            127: self._set_tool_register,
            128: lambda p: struct.pack(">i", self._tool_registers.get(p[1:3], 0)),
        }

    def answer(self, function: int, params: bytes) -> bytes:
        """State byte and parameters of the reply."""
        handler = self._handlers.get(function)
        reply = handler(params) if handler else b"\0" * 4
        ready = self.enabled and self.state in (0, 1, 2) and not self.error
        flags = (0x40 if self.error else 0) | (0 if ready else 0x10)
        return bytes([flags]) + (reply or b"")

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self.plant.advance(seconds)
        self.plant.received |= {"error": self.error, "mode": self.mode, "state": self._reported()}

    def fail(self, code: int) -> None:
        """Error `code`: the arm stops, and stays stopped until it is cleared and enabled."""
        self.error, self.state = code, STOPPED
        self.plant.hold()

    def pose(self) -> list[float]:
        """Mm and roll, pitch, yaw in rad."""
        pose = self.plant.chain.pose(self.plant.q)
        turn = Rotation.from_rotvec(pose[3:]).as_euler("xyz")
        return [*(pose[:3] * MM), *turn]

    def report(self) -> bytes:
        """One record of the real-time report port, 87 bytes with its length."""
        joints = [*self.plant.measured(), 0.0]
        head = struct.pack(">IBH", 87, self.mode * 16 + self._reported(), 0)
        return head + struct.pack("<20f", *joints, *self.pose(), *([0.0] * 7))

    def _reported(self) -> int:
        """The controller tells "ready" (0) as 2, "sleeping"; 1 while it moves."""
        if self.state == 0:
            return 1 if np.abs(self.plant.velocity).max() > 1e-3 else 2
        return self.state

    def _enable(self, params: bytes) -> None:
        self.enabled = bool(params[1])
        self.plant.received["released"] = not self.enabled

    def _set_state(self, params: bytes) -> None:
        self.state = params[0] if not self.error else STOPPED
        if params[0] in (3, 4):
            self.plant.hold()

    def _set_mode(self, params: bytes) -> None:
        if self.state not in (0, 2):
            self.state = 5
        self.mode = params[0]
        self.plant.hold()

    def _clear(self, params: bytes) -> None:
        self.error = 0
        self.plant.hold()

    def _joints(self, params: bytes) -> bytes:
        blocks = [[*self.plant.measured(), 0.0], [*self.plant.velocity, 0.0], [0.0] * 7]
        count = max(1, min(3, params[0] & 0x0F)) if params else 1
        return b"".join(struct.pack("<7f", *block) for block in blocks[:count])

    def _allowed(self, mode: int) -> bool:
        return self.enabled and self.mode == mode and self.state in (0, 1, 2) and not self.error

    def _move(self, params: bytes) -> None:
        values = struct.unpack("<10f", params[:40])
        if self._allowed(0):
            self._aim(np.array(values[:6]), speed=max(0.01, min(values[7], SERVO_SPEED)), step=10)

    def _servo(self, params: bytes) -> None:
        values = np.array(struct.unpack("<6f", params[:24]), np.float64)
        if self._allowed(1):
            self._aim(values, speed=SERVO_SPEED, step=STEP)

    def _servo_pose(self, params: bytes, rotation: str) -> None:
        values = np.array(struct.unpack("<6f", params[:24]), np.float64)
        if not self._allowed(1):
            return
        if not np.isfinite(values).all():
            self.plant.note(values)
            self.fail(OUT_OF_RANGE)
            return
        turn = values[3:]
        if rotation == "rpy":
            turn = Rotation.from_euler("xyz", turn).as_rotvec()
        goal = self.plant.chain.reach(np.concatenate([values[:3] / MM, turn]), self.plant.q)
        if goal is None:
            self.fail(NO_SOLUTION)
        else:
            self._aim(goal, speed=SERVO_SPEED, step=STEP)

    def _aim(self, q: np.ndarray, *, speed: float, step: float) -> None:
        if not self.plant.note(q) or (q < LOW - 1e-4).any() or (q > HIGH + 1e-4).any():
            self.fail(OUT_OF_RANGE)
        elif np.abs(q - self.plant.q).max() > step:
            self.fail(TOO_FAST)
        else:
            self.plant.speed, self.plant.target = speed, q

    def _set_tool_register(self, params: bytes) -> None:
        """Baud rate and the like; 0x1Axx writes what 0x0Axx reads."""
        (value,) = struct.unpack("<f", params[3:7])
        self._tool_registers[bytes([params[1] & 0x0F, params[2]])] = int(value)

    def _tool_modbus(self, params: bytes) -> bytes:
        """The gripper on the tool's RS485 line: registers by Modbus RTU without the checksum."""
        host, unit, function = params[0], params[1], params[2]
        address, count = struct.unpack(">HH", params[3:7])
        if function == 0x10:
            if address == 0x0700:
                (pulse,) = struct.unpack(">i", params[8:12])
                self.plant.grip_target = pulse / GRIPPER_OPEN
            return bytes([host, unit, function]) + params[3:7]
        data = b"\0" * (2 * count)
        if address == 0x0702:
            data = struct.pack(">i", round(self.plant.grip * GRIPPER_OPEN))
        return bytes([host, unit, function, len(data)]) + data
