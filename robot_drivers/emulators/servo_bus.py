"""What servo buses of every maker share: who listens, who answers, and the arm behind them."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import numpy as np

from robot_drivers.emulators.faults import Faults
from robot_drivers.emulators.servo_plant import ServoPlant

TICKS, MIDDLE = 4096, 2048
"""Encoder counts per turn, and where the joint's zero is."""

BROADCAST = 0xFE

Reply = tuple[bytes, float]
"""A status packet and its return delay, seconds."""


class Servo(Protocol):
    """One servo as its bus sees it."""

    memory: bytearray

    @property
    def id(self) -> int:
        """Its address on the bus."""
        ...

    def restart(self) -> None:
        """Forget all but the EEPROM; torque is off."""
        ...

    def limit(self, low: int, high: int) -> None:
        """Store the ends of its range, ticks."""
        ...


class ServoBus[S: Servo](ABC):
    """All servos of one arm; implements `serial_line.Servos`."""

    bauds: ClassVar[tuple[int, ...]]
    """Bits per second, by the value of the servos' baud register."""
    baud_register: ClassVar[int]

    def __init__(self, plant: ServoPlant, make_servo: type[S]):
        self.plant = plant
        self.servos = [make_servo(plant, index) for index in range(len(plant.names))]
        self.faults = Faults()
        self._pending = b""

    def calibrate(self) -> dict[str, dict[str, int]]:
        """Store each joint's range as limits; returns what LeRobot keeps in its file."""
        table = {}
        ends = MIDDLE + np.trunc(np.stack([self.plant.low, self.plant.high]) * TICKS / (2 * np.pi))
        for servo, name, (low, high) in zip(
            self.servos, self.plant.names, ends.T.astype(int).tolist(), strict=True
        ):
            servo.limit(low, high)
            table[name] = {
                "id": servo.id, "drive_mode": 0, "homing_offset": 0,
                "range_min": low, "range_max": high,
            }  # fmt: skip
        return table

    def power_cycle(self) -> None:
        """Every servo restarts."""
        for servo in self.servos:
            servo.restart()

    def advance(self, now: float) -> None:
        """Bring the mechanics up to `now`, seconds, monotonic."""
        self.plant.advance(now)

    def receive(self, data: bytes, *, baud: int) -> list[Reply]:
        """See `Servos.receive`; servos set to another baud rate hear nothing."""
        self._pending += data
        replies: list[Reply] = []
        while (packet := self._next_packet()) is not None:
            alive = {
                servo.id: servo
                for servo in self.servos
                if servo.id not in self.faults.dead
                and self.bauds[servo.memory[self.baud_register] % len(self.bauds)] == baud
            }
            replies += self._execute(*packet, alive=alive)
        return replies

    def _addressed(self, number: int, alive: dict[int, S]) -> list[S]:
        if number == BROADCAST:
            return list(alive.values())
        return [alive[number]] if number in alive else []

    @abstractmethod
    def _next_packet(self) -> tuple[int, int, bytes] | None:
        """Id, instruction and parameters of the next whole, good packet."""

    @abstractmethod
    def _execute(
        self, number: int, instruction: int, parameters: bytes, *, alive: dict[int, S]
    ) -> list[Reply]:
        """Carry one packet out on the servos that hear it; their answers."""
