"""Feetech STS servos on an emulated bus; LeRobot's SO-100 and SO-101 drivers run on it unmodified.

Packets: Feetech's protocol manual. These servos have no watchdog. Start it by hand:

    python -m robot_drivers.emulators.feetech --port /tmp/so101 --calibration ~/so101.json
"""

from robot_drivers.emulators.feetech_servo import Servo
from robot_drivers.emulators.servo_bus import BROADCAST, Reply, ServoBus
from robot_drivers.emulators.servo_plant import ServoPlant

PING, READ, WRITE, REG_WRITE, ACTION = 1, 2, 3, 4, 5
SYNC_READ, SYNC_WRITE = 0x82, 0x83


def checksum(body: bytes) -> int:
    """Over everything between the header and itself."""
    return ~sum(body) & 0xFF


class FeetechBus(ServoBus[Servo]):
    """The servos of an SO-100 or SO-101."""

    bauds = (1_000_000, 500_000, 250_000, 128_000, 115_200, 57_600, 38_400, 19_200)
    baud_register = 6

    def __init__(self, plant: ServoPlant):
        super().__init__(plant, Servo)

    def _next_packet(self) -> tuple[int, int, bytes] | None:
        """Id, instruction and parameters of the next whole packet; resynchronises on FF FF."""
        while True:
            start = self._pending.find(b"\xff\xff")
            if start < 0:
                self._pending = self._pending[-1:]
                return None
            self._pending = self._pending[start:]
            if len(self._pending) < 4:
                return None
            number, length = self._pending[2], self._pending[3]
            if number == 0xFF or not 2 <= length <= 250:
                self._pending = self._pending[1:]
                continue
            if len(self._pending) < length + 4:
                return None
            packet = self._pending[: length + 4]
            if checksum(packet[2:-1]) != packet[-1]:
                self._pending = self._pending[2:]
                continue
            self._pending = self._pending[length + 4 :]
            return number, packet[4], packet[5:-1]

    def _execute(
        self, number: int, instruction: int, parameters: bytes, *, alive: dict[int, Servo]
    ) -> list[Reply]:
        if instruction == SYNC_READ:
            address, count = parameters[0], parameters[1]
            asked = [alive[i] for i in parameters[2:] if i in alive]
            return [_status(servo, servo.read(address, count)) for servo in asked]
        if instruction == SYNC_WRITE:
            address, count = parameters[0], parameters[1]
            for at in range(2, len(parameters) - count, count + 1):
                if (servo := alive.get(parameters[at])) is not None:
                    servo.write(address, parameters[at + 1 : at + 1 + count])
            return []
        replies: list[Reply] = []
        for servo in self._addressed(number, alive):
            replies += _obey(servo, instruction, parameters, broadcast=number == BROADCAST)
        return replies


def _obey(servo: Servo, instruction: int, parameters: bytes, *, broadcast: bool) -> list[Reply]:
    """One servo carries one instruction out."""
    if instruction == PING:
        return [_status(servo, b"")]
    if instruction == READ and not broadcast and len(parameters) == 2:
        return [_status(servo, servo.read(parameters[0], parameters[1]))]
    if instruction == ACTION:
        servo.act()
        return []
    if instruction not in (WRITE, REG_WRITE) or not parameters:
        return []
    answers = bool(servo.memory[8]) and not broadcast
    answer = _status(servo, b"")  # a servo that is given a new id answers with the old one
    (servo.write if instruction == WRITE else servo.hold_back)(parameters[0], parameters[1:])
    return [answer] if answers else []


def _status(servo: Servo, data: bytes) -> Reply:
    body = bytes([servo.id, len(data) + 2, 0]) + data
    return b"\xff\xff" + body + bytes([checksum(body)]), servo.memory[7] * 2e-6 + 2e-6


def main() -> None:
    """Run until interrupted."""
    from robot_drivers.emulators.servo_process import run_command

    run_command("feetech", __doc__)


if __name__ == "__main__":
    main()
