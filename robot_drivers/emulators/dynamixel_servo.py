"""One emulated Dynamixel X servo: its control table, and what the registers do to its joint."""

import numpy as np

from robot_drivers.emulators.servo_bus import MIDDLE, TICKS
from robot_drivers.emulators.servo_plant import STALL_TORQUE, TOP_SPEED, ServoPlant

RANGE_ERROR, LIMIT_ERROR, ACCESS_ERROR = 4, 6, 7
EEPROM_END, SIZE = 64, 148
DRIVE_MODE, MODE, HOMING, TORQUE, WATCHDOG, GOAL = 10, 11, 20, 64, 98, 116
STATUS, OVERLOAD = 70, 1 << 5
POSITION_MODE = 3
WATCHDOG_UNIT, EXPIRED = 0.02, 0xFF
VELOCITY_UNIT = 0.229 * 2 * np.pi / 60
MODELS = (1060, 1060, 1200, 1200, 1200, 1200)
"""Of the Koch follower: two XL430-W250, four XL330-M288."""
READ_ONLY = (range(0, 7), range(70, 71), range(120, 148))
DEFAULT_P = 800
FACTORY = {
    6: (1, 50), 8: (1, 3), 9: (1, 250), 11: (1, 3), 31: (1, 72), 32: (2, 140), 34: (2, 60),
    36: (2, 885), 38: (2, 1750), 44: (4, 265), 48: (4, 4095), 52: (4, 0), 63: (1, 52),
    68: (1, 2), 84: (2, DEFAULT_P), 144: (2, 120), 146: (1, 30),
}  # fmt: skip


class Servo:
    """One servo: its registers, and what they do to its joint."""

    def __init__(self, plant: ServoPlant, index: int):
        self._plant, self._index = plant, index
        self.memory = bytearray(SIZE)
        for address, (size, value) in {0: (2, MODELS[index]), 7: (1, index + 1), **FACTORY}.items():
            self.memory[address : address + size] = value.to_bytes(size, "little")
        self._waiting: tuple[int, bytes] | None = None
        self._heard = 0.0

    @property
    def id(self) -> int:
        """Its address on the bus."""
        return self.memory[7]

    def word(self, address: int, size: int = 4, *, signed: bool = True) -> int:
        """The value at `address`."""
        return int.from_bytes(self.memory[address : address + size], "little", signed=signed)

    def set_word(self, address: int, value: int, size: int = 4) -> None:
        """Store a signed value."""
        self.memory[address : address + size] = value.to_bytes(size, "little", signed=True)

    def restart(self) -> None:
        """REBOOT or power: all but the EEPROM is forgotten; torque is off."""
        kept = bytes(self.memory[:EEPROM_END])
        Servo.__init__(self, self._plant, self._index)
        self.memory[:EEPROM_END] = kept
        self._plant.torque[self._index] = False

    def hear(self, now: float) -> None:
        """An instruction packet passed: the watchdog is content."""
        self._heard = now

    def watch(self, now: float) -> None:
        """Stop when the watchdog is set and nothing was heard for too long."""
        units = self.memory[WATCHDOG]
        if units in (0, EXPIRED) or now - self._heard <= units * WATCHDOG_UNIT:
            return
        self.memory[WATCHDOG] = EXPIRED
        self._plant.latch(self._index)

    def read(self, address: int, count: int) -> bytes:
        """`count` bytes as they are now."""
        if address + count > 122:
            self._measure()
        return bytes(self.memory[address : address + count]).ljust(count, b"\0")

    def write(self, address: int, data: bytes) -> int:
        """Store bytes and do what they ask for; the error number, 0 when all is well."""
        touched = range(address, address + len(data))
        if touched.stop > SIZE or any(address in closed for closed in READ_ONLY):
            return ACCESS_ERROR
        if address < EEPROM_END and self.memory[TORQUE]:
            return ACCESS_ERROR
        if GOAL in touched:
            if self.memory[WATCHDOG] == EXPIRED:
                return RANGE_ERROR
            goal = int.from_bytes(data[GOAL - address :][:4], "little", signed=True)
            low, high = self.word(52), self.word(48)
            if self.memory[MODE] == POSITION_MODE and not low <= goal <= high:
                return LIMIT_ERROR
        self.memory[address : touched.stop] = data
        if TORQUE in touched:
            self._switch(bool(self.memory[TORQUE]))
        if GOAL in touched and self.memory[TORQUE]:
            self._aim()
        self._plant.gain[self._index] = max(self.word(84, 2) / DEFAULT_P, 0.1)
        speed = self.word(112) * VELOCITY_UNIT
        self._plant.speed[self._index] = min(speed or TOP_SPEED, TOP_SPEED)
        return 0

    def limit(self, low: int, high: int) -> None:
        """Store the ends of its range, ticks."""
        self.write(48, high.to_bytes(4, "little") + low.to_bytes(4, "little"))

    def alarm(self, overload: bool) -> None:
        """Tell an overload, torque off, or tell none."""
        self.memory[STATUS] = OVERLOAD if overload else 0
        if overload:
            self.memory[TORQUE] = 0
            self._switch(False)

    def hold_back(self, address: int, data: bytes) -> int:
        """REG_WRITE: keep a write until ACTION."""
        self._waiting = address, data
        return 0

    def act(self) -> None:
        """ACTION: do what REG_WRITE kept."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self.write(*waiting)

    def _sign(self) -> int:
        return -1 if self.memory[DRIVE_MODE] & 1 else 1

    def _position(self) -> int:
        turns = self._sign() * self._plant.position[self._index] / (2 * np.pi)
        return MIDDLE + round(turns * TICKS) + self.word(HOMING)

    def _switch(self, on: bool) -> None:
        if on and not self._plant.torque[self._index]:
            self._plant.latch(self._index)
            self.set_word(GOAL, self._position())
        self._plant.torque[self._index] = on

    def _aim(self) -> None:
        ticks = self.word(GOAL) - self.word(HOMING) - MIDDLE
        self._plant.goal[self._index] = self._sign() * ticks * 2 * np.pi / TICKS

    def _measure(self) -> None:
        velocity = self._sign() * float(self._plant.velocity[self._index])
        load = self._sign() * float(self._plant.load[self._index]) / STALL_TORQUE
        self.memory[122] = abs(velocity) > 0.02
        self.set_word(126, round(load * 1000), 2)
        self.set_word(128, round(velocity / VELOCITY_UNIT))
        self.set_word(132, self._position())
