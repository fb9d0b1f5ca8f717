"""Dynamixel X servos on an emulated bus; LeRobot's Koch driver runs on it unmodified.

Protocol 2.0 and the X-series control table are ROBOTIS's (emanual.robotis.com): CRC-16,
byte stuffing, sync read and write, fast sync read, bus watchdog. Values are little-endian
and two's complement. Start it by hand:

    python -m robot_drivers.emulators.dynamixel --port /tmp/koch --calibration ~/koch.json
"""

from robot_drivers.emulators.dynamixel_servo import Servo
from robot_drivers.emulators.servo_bus import BROADCAST, Reply, ServoBus
from robot_drivers.emulators.servo_plant import ServoPlant

PING, READ, WRITE, REG_WRITE, ACTION, REBOOT = 1, 2, 3, 4, 5, 8
STATUS, SYNC_READ, SYNC_WRITE, FAST_SYNC_READ = 0x55, 0x82, 0x83, 0x8A
HEADER = b"\xff\xff\xfd\x00"
LENGTH_ERROR = 5


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        word = byte << 8
        for _ in range(8):
            word = (word << 1 ^ 0x8005) if word & 0x8000 else word << 1
        table.append(word & 0xFFFF)
    return table


CRC_TABLE = _crc_table()


def crc16(data: bytes, start: int = 0) -> int:
    """CRC-16 with polynomial 0x8005, most significant bit first."""
    value = start
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ CRC_TABLE[value >> 8 ^ byte]
    return value


def stuff(body: bytes) -> bytes:
    """Keep the header out of a packet's inside: FF FF FD becomes FF FF FD FD."""
    return body.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")


def unstuff(body: bytes) -> bytes:
    """Inverse of `stuff`."""
    return body.replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")


def pack(number: int, body: bytes) -> bytes:
    """A whole packet; `body` is the instruction with everything behind it."""
    body = stuff(body)
    packet = HEADER + bytes([number]) + (len(body) + 2).to_bytes(2, "little") + body
    return packet + crc16(packet).to_bytes(2, "little")


class DynamixelBus(ServoBus[Servo]):
    """The servos of a Koch follower."""

    bauds = (9_600, 57_600, 115_200, 1_000_000, 2_000_000, 3_000_000, 4_000_000)
    baud_register = 8

    def __init__(self, plant: ServoPlant):
        super().__init__(plant, Servo)
        self._now = 0.0

    def advance(self, now: float) -> None:
        """Bring mechanics and watchdogs up to `now`, seconds, monotonic."""
        self._now = now
        super().advance(now)
        for servo in self.servos:
            servo.watch(now)

    def _next_packet(self) -> tuple[int, int, bytes] | None:
        """Id, instruction and parameters of the next whole packet with a good CRC."""
        while True:
            start = self._pending.find(HEADER)
            if start < 0:
                self._pending = self._pending[-3:]
                return None
            self._pending = self._pending[start:]
            if len(self._pending) < 7:
                return None
            end = 7 + int.from_bytes(self._pending[5:7], "little")
            if not 10 <= end <= 1024:
                self._pending = self._pending[4:]
                continue
            if len(self._pending) < end:
                return None
            packet, number = self._pending[:end], self._pending[4]
            if crc16(packet[:-2]) != int.from_bytes(packet[-2:], "little"):
                self._pending = self._pending[4:]
                continue
            self._pending = self._pending[end:]
            body = unstuff(packet[7:-2])
            return number, body[0], body[1:]

    def _execute(
        self, number: int, instruction: int, parameters: bytes, *, alive: dict[int, Servo]
    ) -> list[Reply]:
        for servo in alive.values():
            servo.hear(self._now)
        if instruction in (SYNC_READ, FAST_SYNC_READ, SYNC_WRITE):
            if len(parameters) < 4:
                return []
            address = int.from_bytes(parameters[:2], "little")
            count = int.from_bytes(parameters[2:4], "little")
            return _together(alive, instruction, address, count, parameters[4:])
        replies: list[Reply] = []
        for servo in self._addressed(number, alive):
            replies += _obey(servo, instruction, parameters, broadcast=number == BROADCAST)
        return replies


def _together(
    alive: dict[int, Servo], instruction: int, address: int, count: int, rest: bytes
) -> list[Reply]:
    """The instructions for many servos at once."""
    if instruction == SYNC_WRITE:
        for at in range(0, len(rest) - count, count + 1):
            if (servo := alive.get(rest[at])) is not None:
                servo.write(address, rest[at + 1 : at + 1 + count])
        return []
    if instruction == SYNC_READ:
        return [_status(alive[i], alive[i].read(address, count)) for i in rest if i in alive]
    if not rest or any(i not in alive for i in rest):
        return []  # the one answer is a chain; a missing link breaks it
    size = len(rest) * (count + 4) + 1
    packet = HEADER + bytes([BROADCAST]) + size.to_bytes(2, "little") + bytes([STATUS])
    for number in rest:
        packet += bytes([alive[number].memory[70] and 0x80, number])
        packet += alive[number].read(address, count)
        packet += crc16(packet).to_bytes(2, "little")
    return [(packet, _delay(alive[rest[0]]))]


def _obey(servo: Servo, instruction: int, parameters: bytes, *, broadcast: bool) -> list[Reply]:
    """One servo carries one instruction out."""
    level = servo.memory[68]
    if instruction == PING:
        return [_status(servo, bytes(servo.memory[0:2]) + bytes(servo.memory[6:7]))]
    if instruction == READ:
        if len(parameters) != 4:
            return [_status(servo, b"", LENGTH_ERROR)]
        address, count = parameters[0] | parameters[1] << 8, parameters[2] | parameters[3] << 8
        return [_status(servo, servo.read(address, count))] if level and not broadcast else []
    error, number = 0, servo.id
    if instruction in (WRITE, REG_WRITE) and len(parameters) > 2:
        act = servo.write if instruction == WRITE else servo.hold_back
        error = act(parameters[0] | parameters[1] << 8, parameters[2:])
    elif instruction == REBOOT:
        servo.restart()
    elif instruction == ACTION:
        servo.act()
    if broadcast or level < 2:
        return []
    return [(pack(number, bytes([STATUS, error])), _delay(servo))]


def _delay(servo: Servo) -> float:
    return servo.memory[9] * 2e-6 + 2e-6


def _status(servo: Servo, data: bytes, error: int = 0) -> Reply:
    return pack(servo.id, bytes([STATUS, error]) + data), _delay(servo)


def main() -> None:
    """Run until interrupted."""
    from robot_drivers.emulators.servo_process import run_command

    run_command("dynamixel", __doc__)


if __name__ == "__main__":
    main()
