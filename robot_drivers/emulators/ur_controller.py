"""What a UR controller does with the commands of ur_rtde's script, without the sockets.

Commands arrive in `input_int_register_0`, their arguments in `input_double_register_0..`,
the answer is `output_int_register_0`: 1 ready, 0 busy, 2 done. Numbers as ur_rtde 1.6.5
sends them (seen on the wire).
"""

import time
from typing import Any

import numpy as np

from robot_drivers.emulators.arm_plant import ArmPlant
from robot_drivers.emulators.dh_chain import ur_chain

HOME = (0.0, -1.57, 1.57, -1.57, -1.57, 0.0)
MOVE_J, MOVE_L, SERVO_J, SERVO_STOP, SERVO_L = 1, 3, 11, 16, 24
PROTECTIVE_STOP, STOP_L, STOP_J, WATCHDOG, STOP_SCRIPT = 31, 33, 34, 35, 255
READY, BUSY, DONE = 1, 0, 2
LIMIT = 2 * np.pi
SANITY = 0.5
"""A servo target farther than this from the last, rad, fails the path sanity check (C204)."""


class UrController:
    """The program's state, the registers, and the arm.

    Attributes:
        program: whether the uploaded script runs.
        stopped: whether a protective stop holds the arm.
    """

    def __init__(self) -> None:
        self.plant = ArmPlant(chain=ur_chain("UR5e"), q=np.array(HOME))
        self.inputs: dict[str, Any] = {}
        self.program = self.stopped = False
        self.answer, self._command, self._begin = READY, 0, time.monotonic()
        self._watchdog, self._heard = 0.0, 0.0
        self.stamp = 0.0

    def upload(self) -> None:
        """A whole program came in at a script port; it starts unless the arm is stopped."""
        self.program = not self.stopped
        self.answer, self._command, self._watchdog = READY, 0, 0.0
        self.inputs.clear()
        self.plant.hold()

    def stop_program(self) -> None:
        """The arm holds; the program ends."""
        self.program = False
        self._watchdog = 0.0
        self.plant.hold()

    def protective_stop(self) -> None:
        """As after a collision."""
        self.stopped = True
        self.stop_program()

    def unlock(self) -> None:
        """The dashboard's `unlock protective stop`; programs have to be started again."""
        self.stopped = False

    def receive(self, values: dict[str, Any]) -> None:
        """One input packet."""
        self.inputs.update(values)
        self._heard = time.monotonic()
        command = int(self.inputs.get("input_int_register_0", 0))
        if "input_int_register_0" not in values or not self.program:
            return
        if command == SERVO_J:
            self._servo(self._doubles(6))
        elif command == SERVO_L:
            self._servo_pose(self._doubles(6))
        elif command == 0:
            self._command, self.answer = 0, READY
        elif command != self._command:
            self._command, self.answer = command, self._begin_command(command)

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        if self.plant.faults.freeze:
            return
        self.stamp += seconds
        if self._watchdog and time.monotonic() - self._heard > 1.0 / self._watchdog:
            self.stop_program()
        self.plant.advance(seconds)
        if self.answer == BUSY and np.abs(self.plant.q - self.plant.target).max() < 1e-4:
            self.answer = DONE

    def outputs(self) -> dict[str, Any]:
        """The variables that a client may ask for; the others are 0."""
        plant = self.plant
        pose = plant.chain.pose(plant.q)
        return {
            "timestamp": self.stamp,
            "actual_q": plant.measured(),
            "target_q": plant.target,
            "actual_qd": plant.velocity,
            "target_qd": plant.velocity,
            "actual_TCP_pose": pose,
            "target_TCP_pose": plant.chain.pose(plant.target),
            "actual_TCP_speed": plant.chain.jacobian(plant.q) @ plant.velocity,
            "robot_mode": 7,
            "safety_mode": 3 if self.stopped else 1,
            "safety_status": 3 if self.stopped else 1,
            "runtime_state": 2 if self.program else 1,
            "robot_status_bits": 1 | (2 if self.program else 0),
            "safety_status_bits": 4 if self.stopped else 1,
            "speed_scaling": 1.0,
            "target_speed_fraction": 1.0,
            "output_int_register_0": self.answer,
        }

    def _doubles(self, count: int, first: int = 0) -> np.ndarray:
        names = (f"input_double_register_{first + i}" for i in range(count))
        return np.array([self.inputs.get(name, 0.0) for name in names], np.float64)

    def _servo(self, q: np.ndarray) -> None:
        """Stream one target. What a real controller refuses stops it."""
        finite = self.plant.note(q)
        if not finite or np.abs(q).max() > LIMIT or np.abs(q - self.plant.target).max() > SANITY:
            self.protective_stop()
            return
        self.plant.speed, self.plant.target = 3.14, q

    def _servo_pose(self, pose: np.ndarray) -> None:
        finite = bool(np.isfinite(pose).all())
        goal = self.plant.chain.reach(pose, self.plant.target) if finite else None
        if finite and goal is None:  # out of reach, or too close to a singularity
            self.protective_stop()
        else:
            self._servo(goal if finite else pose)

    def _begin_command(self, command: int) -> int:
        """Start a command with a handshake; the answer so far."""
        if command == MOVE_J:
            self.plant.speed = min(3.14, max(0.01, float(self._doubles(1, 6)[0])))
            self.plant.target = self._doubles(6)
            return BUSY
        if command == MOVE_L:
            goal = self.plant.chain.reach(self._doubles(6), self.plant.q)
            if goal is None:
                self.protective_stop()
                return DONE
            self.plant.speed, self.plant.target = 1.05, goal
            return BUSY
        if command in (SERVO_STOP, STOP_J, STOP_L):
            self.plant.hold()
        elif command == WATCHDOG:
            self._watchdog = float(self._doubles(1)[0])
        elif command == PROTECTIVE_STOP:
            self.protective_stop()
        elif command == STOP_SCRIPT:
            self.stop_program()
        return DONE
