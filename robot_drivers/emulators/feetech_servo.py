"""One emulated Feetech STS servo: its registers, and what they do to its joint.

Registers and their meaning: Feetech's STS/SMS memory table; 16-bit values are little-endian,
signed ones are sign and magnitude.
"""

import numpy as np

from robot_drivers.emulators.servo_bus import MIDDLE, TICKS
from robot_drivers.emulators.servo_plant import STALL_TORQUE, TOP_SPEED, ServoPlant

EEPROM_END, PRESENT, PRESENT_END = 40, 56, 71
TORQUE, GOAL, LOCK, MODE, HOMING = 40, 42, 55, 33, 31
STATUS, OVERLOAD = 65, 1 << 5
DEFAULT_P = 16
FACTORY = {  # address: (bytes, value) as delivered, with LeRobot's names in the design notes
    0: (1, 3), 1: (1, 10), 3: (2, 777), 6: (1, 0), 7: (1, 250), 8: (1, 1), 9: (2, 0), 11: (2, 4095),
    13: (1, 70), 14: (1, 80), 15: (1, 40), 16: (2, 1000), 18: (1, 12), 19: (1, 44), 20: (1, 47),
    21: (1, 32), 22: (1, 32), 23: (1, 0), 28: (2, 310), 31: (2, 0), 33: (1, 0), 34: (1, 20),
    35: (1, 200), 36: (1, 80), 48: (2, 1000), 55: (1, 1), 62: (1, 74), 63: (1, 30), 85: (1, 254),
}  # fmt: skip


def sign_magnitude(value: int, bit: int) -> int:
    """`value` with its sign in `bit`."""
    return min(abs(value), (1 << bit) - 1) | ((1 << bit) if value < 0 else 0)


def from_sign_magnitude(word: int, bit: int) -> int:
    """Inverse of `sign_magnitude`."""
    size = word & ((1 << bit) - 1)
    return -size if word >> bit & 1 else size


class Servo:
    """One servo: its registers, and what they do to its joint."""

    def __init__(self, plant: ServoPlant, index: int):
        self._plant, self._index = plant, index
        self.memory = bytearray(128)
        for address, (size, value) in FACTORY.items():
            self.set_word(address, value, size)
        self.memory[5] = index + 1
        self._saved = bytes(self.memory)
        self._waiting: tuple[int, bytes] | None = None

    @property
    def id(self) -> int:
        """Its address on the bus."""
        return self.memory[5]

    def word(self, address: int, size: int = 2) -> int:
        """The unsigned value at `address`."""
        return int.from_bytes(self.memory[address : address + size], "little")

    def set_word(self, address: int, value: int, size: int = 2) -> None:
        """Store an unsigned value."""
        self.memory[address : address + size] = value.to_bytes(size, "little")

    def restart(self) -> None:
        """Forget all but the EEPROM; torque is off."""
        self.memory[:] = self._saved
        self._plant.torque[self._index] = False
        self._apply_gains()

    def read(self, address: int, count: int) -> bytes:
        """`count` bytes as they are now."""
        if address < PRESENT_END and address + count > PRESENT:
            self._measure()
        return bytes(self.memory[address : address + count]).ljust(count, b"\0")

    def write(self, address: int, data: bytes) -> None:
        """Store bytes and do what they ask for; read-only registers stay."""
        for offset, byte in enumerate(data):
            place = address + offset
            if place < 5 or PRESENT <= place <= PRESENT_END or place >= len(self.memory):
                continue
            self.memory[place] = byte
        touched = range(address, address + len(data))
        if not self.memory[LOCK] and address < EEPROM_END:
            self._saved = bytes(self.memory[:EEPROM_END]) + self._saved[EEPROM_END:]
        if TORQUE in touched:
            self._switch(self.memory[TORQUE])
        if GOAL in touched:
            if not self.memory[TORQUE]:
                self.memory[TORQUE] = 1
                self._switch(1)
                self.memory[GOAL : GOAL + 2] = data[GOAL - address : GOAL - address + 2]
            self._aim()
        self._apply_gains()

    def limit(self, low: int, high: int) -> None:
        """Store the ends of its range, ticks."""
        self.memory[LOCK] = 0
        self.write(9, low.to_bytes(2, "little") + high.to_bytes(2, "little"))
        self.memory[LOCK] = 1

    def alarm(self, overload: bool) -> None:
        """Tell an overload, torque off, or tell none."""
        self.memory[STATUS] = OVERLOAD if overload else 0
        if overload:
            self.memory[TORQUE] = 0
            self._switch(0)

    def hold_back(self, address: int, data: bytes) -> None:
        """REG_WRITE: keep a write until ACTION."""
        self._waiting = address, data

    def act(self) -> None:
        """ACTION: do what REG_WRITE kept."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self.write(*waiting)

    def _homing(self) -> int:
        return from_sign_magnitude(self.word(HOMING), 11)

    def _position(self) -> int:
        raw = MIDDLE + round(self._plant.position[self._index] * TICKS / (2 * np.pi))
        return raw - self._homing()

    def _switch(self, value: int) -> None:
        if value == 128:  # "here is the middle": set the homing offset
            raw = self._position() + self._homing()
            self.set_word(HOMING, sign_magnitude(raw - MIDDLE, 11))
            self.memory[TORQUE] = 0
            return
        if value and not self._plant.torque[self._index]:
            self._plant.latch(self._index)
            self.set_word(GOAL, sign_magnitude(self._position(), 15))
        self._plant.torque[self._index] = bool(value)

    def _aim(self) -> None:
        goal = from_sign_magnitude(self.word(GOAL), 15)
        low, high = self.word(9), self.word(11)
        if (low, high) != (0, TICKS - 1):
            goal = min(max(goal, low), high)
        self._plant.goal[self._index] = (goal + self._homing() - MIDDLE) * 2 * np.pi / TICKS

    def _apply_gains(self) -> None:
        self._plant.gain[self._index] = self.memory[21] / DEFAULT_P
        limit = min(self.word(16), self.word(48), 1000)
        self._plant.strength[self._index] = limit / 1000
        speed = from_sign_magnitude(self.word(46), 15) * 2 * np.pi / TICKS
        self._plant.speed[self._index] = min(abs(speed) or TOP_SPEED, TOP_SPEED)

    def _measure(self) -> None:
        velocity = float(self._plant.velocity[self._index])
        load = float(self._plant.load[self._index]) / STALL_TORQUE
        self.set_word(56, sign_magnitude(self._position(), 15))
        self.set_word(58, sign_magnitude(round(velocity * TICKS / (2 * np.pi)), 15))
        self.set_word(60, sign_magnitude(round(load * 1000), 10))
        self.memory[66] = abs(velocity) > 0.02
        self.set_word(69, sign_magnitude(round(load * 300), 15))
