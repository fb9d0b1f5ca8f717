"""Random commands by the million through the gate to the servos of an SO-101: none illegal arrives.

    python -m benchmarks.fuzz_gate [--commands 1000000] [--seed 0] [--hz 50]

LeRobot's genuine driver writes to emulated servos in this process: their packets, but no wire
and no waiting. What is judged is what stands in the servos' registers after every command, not
what the gate says about it. Ends with one JSON line; exit status 1 when something illegal arrived.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.fuzz_commands import Fuzzer
from robot_drivers.cameras import NoCameras
from robot_drivers.causes import Cause
from robot_drivers.config import GateConfig
from robot_drivers.config_lerobot import So101Config
from robot_drivers.emulators.feetech import FeetechBus
from robot_drivers.emulators.feetech_servo import GOAL, from_sign_magnitude
from robot_drivers.emulators.servo_bus import MIDDLE, TICKS
from robot_drivers.emulators.servo_plant import ServoPlant
from robot_drivers.limits import TOLERANCE
from robot_drivers.robot_world import RobotWorld
from vla.errors import GateRefusal, RobotError
from vla.files import write_json
from vla.runtime.ticker import Slot

TICK = 2 * np.pi / TICKS
"""Resolution of the servos, rad."""
HALT_LEAD = 0.05
"""What `LerobotArm.halt` leaves between goal and pose, rad."""


class DirectSerial:
    """A pyserial port that ends in the servos themselves."""

    def __init__(self, bus: FeetechBus, folder: Path, **_: object):
        self._bus, self._answer = bus, b""
        self._file = (folder / "lock").open("w")  # drivers lock their port
        self.baudrate, self.timeout, self.write_timeout = 1_000_000, 0.0, None

    def write(self, packet: list[int]) -> int:
        """To the servos; their answer can be read at once."""
        self._answer += b"".join(
            answer for answer, _ in self._bus.receive(bytes(packet), baud=self.baudrate)
        )
        return len(packet)

    def read(self, count: int = 1) -> bytes:
        """At most `count` bytes."""
        taken, self._answer = self._answer[:count], self._answer[count:]
        return taken

    @property
    def in_waiting(self) -> int:
        """Bytes to read."""
        return len(self._answer)

    def reset_input_buffer(self) -> None:
        """Forget them."""
        self._answer = b""

    def flush(self) -> None:
        """Nothing waits."""

    def fileno(self) -> int:
        """Of a file to lock."""
        return self._file.fileno()

    def close(self) -> None:
        """Give the lock back."""
        self._file.close()


class SwiftPlant(ServoPlant):
    """Joints that go to their goals at the servos' speed, without mechanics."""

    def advance(self, now: float) -> None:
        """See `ServoPlant.advance`."""
        reach = self.speed * (now - (now if self._time is None else self._time))
        self._time = now
        self.data.qpos += np.clip(self.goal - self.data.qpos, -reach, reach) * self.torque


class VirtualArm:
    """A `Device`: writes go through the driver, states come from the mechanics, stale on demand.

    Attributes:
        now: the virtual clock, seconds.
        stale: seconds by which the next states are too old.
        broken: whether the next states hold a NaN.
    """

    def __init__(self, driver: object, bus: FeetechBus):
        self._driver, self._bus, self.embodiment = driver, bus, driver.embodiment
        self.now, self.stale, self.broken = 0.0, 0.0, False

    def connect(self) -> None:
        """The driver's."""
        self._driver.connect()

    def read(self):
        """Where the joints are, with the gripper as a share of its stroke."""
        state = self._driver._state.copy()
        joints = self._bus.plant.position
        state[:5] = joints[:5]
        low, high = self._bus.plant.low[5], self._bus.plant.high[5]
        state[5] = np.clip((joints[5] - low) / (high - low), 0, 1)
        if self.broken:
            state[np.random.default_rng(int(self.now * 1e3)).integers(6)] = np.nan
        return state, self.now - self.stale

    def write(self, action):
        """The driver's, and the mechanics move on by a tick."""
        sent = self._driver.write(action)
        self.now += 1 / self.embodiment.hz
        self._bus.advance(self.now)
        return sent

    def halt(self) -> None:
        """The driver's."""
        self._driver.halt()

    def close(self) -> None:
        """The driver's."""
        self._driver.close()


class VirtualTicker:
    """Never waits; misses slots on demand."""

    def __init__(self) -> None:
        self.missed = 0

    def start(self) -> Slot:
        """The first slot."""
        return self.wait()

    def wait(self) -> Slot:
        """The next one."""
        return Slot(index=0, deadline=0.0, lateness=0.0, missed=self.missed)


class Witness:
    """Reads the servos' registers after each command and knows what may stand there."""

    def __init__(self, bus: FeetechBus, gate: GateConfig, hz: float):
        self._bus, self._step = bus, gate.joint_speed / hz * (1 + 2 * TOLERANCE) + 1.01 * TICK
        self._low = bus.plant.low[:5] + gate.joint_margin - 2 * TICK
        self._high = bus.plant.high[:5] - gate.joint_margin + 2 * TICK
        # one more tick on each side: of the calibration file and of rounding
        self._kept = [bytes(servo.memory[:GOAL]) for servo in bus.servos]
        self.last, self.largest, self.illegal = self.goals(), 0.0, []

    def goals(self) -> np.ndarray:
        """Goals (6,) in the registers, rad."""
        words = [from_sign_magnitude(servo.word(GOAL), 15) for servo in self._bus.servos]
        return (np.array(words) - MIDDLE) * TICK

    def begin(self) -> None:
        """A flight begins: its first step is one from where the arm is."""
        self.last = self._bus.plant.position.copy()

    def look(self, number: int, *, halted: bool) -> None:
        """Note what is illegal after command `number`."""
        goals, pose = self.goals(), self._bus.plant.position
        step = np.abs(goals - self.last)[:5]
        if not halted:
            self.largest = max(self.largest, float(step.max()))
        # A halt brings the goal nearer to the arm: measured from there it is the smaller step.
        near = np.abs(goals - pose)[:5] <= HALT_LEAD + 2 * TICK
        wrong = {
            "outside": (goals[:5] < self._low).any() or (goals[:5] > self._high).any(),
            "too far": ((step > self._step) & ~(near & halted)).any(),
            "registers": [bytes(s.memory[:GOAL]) for s in self._bus.servos] != self._kept,
        }
        self.illegal += [(number, name) for name, found in wrong.items() if found]
        self.last = goals


@contextmanager
def bench(hz: float):
    """The bus and the driver on it, connected."""
    folder, bus = Path(tempfile.mkdtemp(prefix="fuzz-")), FeetechBus(SwiftPlant())
    write_json(folder / "emulated.json", bus.calibrate())
    config = So101Config(port="direct", id="emulated", calibration_dir=str(folder), hz=hz)
    with patch("scservo_sdk.port_handler.serial.Serial", lambda **k: DirectSerial(bus, folder)):
        driver = config.build()
        try:
            driver.connect()
            yield bus, driver, config.gate
        finally:
            driver.close()


def fuzz(commands: int, seed: int, hz: float) -> dict:
    """Send them; what happened."""
    with bench(hz) as (bus, driver, limits):
        arm, ticker = VirtualArm(driver, bus), VirtualTicker()
        bus.plant.advance(arm.now)
        judge = limits.build(arm.embodiment)
        world = RobotWorld(arm, NoCameras(), gate=judge, clock=lambda: arm.now, ticker=ticker)
        arm.connect = lambda: None  # connected already
        witness, fuzzer = Witness(bus, limits, hz), Fuzzer(arm.embodiment, limits, seed)
        ended: Counter[str] = Counter()
        fresh = True
        for number in range(commands):
            if fresh:
                arm.stale = ticker.missed = 0
                arm.broken = False
                judge.release()
                world.reset(seed=0)
                fuzzer.begin(judge, arm.read()[0])
                witness.begin()
            wish = fuzzer.draw()
            arm.stale, arm.broken, ticker.missed = wish.stale, wish.broken, wish.missed
            fresh = False
            try:
                world.step(wish.action)
            except (GateRefusal, RobotError) as error:
                ended[type(error).__name__] += 1
                fresh = True
            fuzzer.note(judge)
            witness.look(number, halted=fresh)
        torque = [bool(servo.memory[40]) for servo in bus.servos]
    return {
        "commands": commands,
        "illegal_arrived": len(witness.illegal),
        "first_illegal": witness.illegal[:5],
        "let_through": fuzzer.passed,
        "kinds": dict(fuzzer.kinds),
        "causes": {Cause(code).name: count for code, count in sorted(fuzzer.causes.items())},
        "flights_ended": dict(ended),
        "largest_step_rad": round(witness.largest, 5),
        "allowed_step_rad": round(witness._step, 5),
        "torque_on": all(torque),
    }


def main() -> None:
    """Fuzz and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hz", type=float, default=50.0)
    options = parser.parse_args()
    begin = time.perf_counter()
    result = fuzz(options.commands, options.seed, options.hz)
    result["seconds"] = round(time.perf_counter() - begin, 1)
    result["load"] = round(os.getloadavg()[0], 2)
    sys.stdout.write(json.dumps(result) + "\n")
    raise SystemExit(1 if result["illegal_arrived"] or not result["torque_on"] else 0)


if __name__ == "__main__":
    main()
