"""RobotWorld: a robot and its cameras as a World, with the safety gate inside.

    step(action): gate ──▶ robot.write ──▶ flight log ──▶ wait for the next slot ──▶ read

Stale states and pictures make the gate hold, and latch when they stay stale. A device
that fails, and a gate that latches, halt the robot and end the episode with an error.
"""

import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from robot_drivers.cameras import CameraSource, Frames, check_frames, oldest_time
from robot_drivers.gate import SafetyGate, Verdict
from robot_drivers.limits import Cause
from vla.contract import Robot
from vla.embodiment import Embodiment
from vla.errors import GateRefusal, RobotError
from vla.runtime.record import FlightLog
from vla.runtime.ticker import Slot, Ticker
from vla.types import Float32, Observation, Outcome

CAUSES = tuple(cause.name for cause in Cause)
"""Names of the refusal codes, for the header of the flight log."""


@runtime_checkable
class Device(Robot, Protocol):
    """A Robot that can be closed, with torque kept on."""

    def close(self) -> None:
        """Disconnect; idempotent."""
        ...


@runtime_checkable
class Scene(Protocol):
    """What a simulated robot knows and a real one does not: its scene and its success."""

    def arrange(self, *, seed: int) -> str:
        """Set the scene of `seed` up; return the instruction."""
        ...

    def outcome(self) -> Outcome:
        """How the episode stands."""
        ...


class RobotWorld:
    """Implements World. Times are seconds on the monotonic clock; pictures and states carry theirs.

    An observation's `time` is the capture time of its state; the log has that of its pictures.
    """

    def __init__(
        self,
        robot: Device,
        cameras: CameraSource,
        *,
        gate: SafetyGate,
        instruction: str = "",
        scene: Scene | None = None,
        log: FlightLog | None = None,
        clock: Callable[[], float] = time.monotonic,
        ticker: Ticker | None = None,
    ):
        """Nothing is opened or moved before `reset`.

        Args:
            robot: closed by `close`.
            cameras: closed by `close`.
            gate: built for the robot's embodiment.
            instruction: what to do; empty: what the scene says.
            scene: sets episodes up and judges them; None: a person does.
            log: written every tick; stays open.
            clock: seconds, monotonic; shared with the robot's capture times.
            ticker: the control grid; None: the embodiment's rate.
        """
        self.embodiment: Embodiment = robot.embodiment
        self.gate = gate
        self._robot, self._cameras, self._scene, self._log = robot, cameras, scene, log
        self._instruction, self._said = instruction, instruction
        self._clock = clock
        self._ticker = ticker or Ticker(self.embodiment.hz)
        self._connected = self._closed = False
        self._slot: Slot | None = None

    def reset(self, *, seed: int) -> Observation:
        """Set the scene up, connect, and check that the arm may start where it stands.

        Raises:
            GateRefusal: when the gate is still latched.
            RobotError: when a device fails, is stale, or the start pose is out of limits.
        """
        self._refuse_if_latched()
        self._said = self._instruction
        if self._scene is not None:
            said = self._scene.arrange(seed=seed)
            self._said = self._instruction or said
        if not self._connected:
            self._robot.connect()
            self._connected = True
        self.gate.reset()
        self._slot = None
        observation = self._observe()
        age = self._age()
        if not age <= self.gate.max_age:
            raise RobotError(
                f"The newest state or picture is {age:.2f} s old; at most {self.gate.max_age} s "
                "are allowed. Check the cameras and the arm."
            )
        problems = self.gate.check_start(observation.state[-1])
        if problems:
            raise RobotError(
                f"The arm may not start here: {'; '.join(problems)}. Move it inside by hand."
            )
        return observation

    def step(self, action: Float32) -> Observation:
        """Judge, send, log, wait for the next slot of the grid, and observe.

        Raises:
            GateRefusal: when the gate latches; the robot has been halted.
            RobotError: when a device fails; the robot has been halted.
        """
        if self._slot is None:
            self._slot = self._ticker.start()
        verdict = self.gate.judge(action, state=self._state, age=self._age())
        sent_time = self._clock()
        try:
            sent = self._robot.write(verdict.sent)
            self._record(verdict, sent_time, sent=sent, cause=verdict.cause)
            self._refuse_if_latched(verdict)
            self._slot = self._ticker.wait()
            return self._observe()
        except GateRefusal as error:
            self._halt_after(error)
            raise
        except RobotError as error:
            self.gate.latch(Cause.FAULT)
            unknown = np.full(len(self.embodiment.action), np.nan, np.float32)
            self._record(verdict, sent_time, sent=unknown, cause=Cause.FAULT)
            self._halt_after(error)
            raise

    def outcome(self) -> Outcome:
        """What the scene says; without one the episode goes on until somebody stops it."""
        if self._scene is None:
            return Outcome(success=False, ended=False)
        return self._scene.outcome()

    def close(self) -> None:
        """Halt, then disconnect robot and cameras; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._connected:
                self._robot.halt()
        finally:
            try:
                self._robot.close()
            finally:
                self._cameras.close()

    def _observe(self) -> Observation:
        state, self._state_time = self._robot.read()
        if state.shape != (len(self.embodiment.state),) or not np.isfinite(state).all():
            raise RobotError(f"The robot measured {state.tolist()}; a sensor is not to be trusted.")
        frames: Frames = self._cameras.latest()
        check_frames(frames, self.embodiment)
        self._state, self._image_time = state, oldest_time(frames)
        return Observation(
            images={name: frames[name][0][None] for name in self.embodiment.cameras},
            state=state[None],
            instruction=self._said,
            time=self._state_time,
        )

    def _age(self) -> float:
        """Seconds since the older of state and pictures was captured."""
        return float(self._clock() - np.fmin(self._state_time, self._image_time))

    def _record(self, verdict: Verdict, sent_time: float, *, sent: Float32, cause: Cause) -> None:
        if self._log is None:
            return
        self._log.append(
            time=sent_time,
            io_time=self._clock() - sent_time,
            deadline=self._slot.deadline,
            lateness=self._slot.lateness,
            missed=self._slot.missed,
            state=self._state,
            state_time=self._state_time,
            image_time=self._image_time,
            wanted=verdict.wanted,
            sent=sent,
            cause=int(cause),
            latched=self.gate.latch_cause is not Cause.NONE,
            abrupt=verdict.abrupt,
        )

    def _refuse_if_latched(self, verdict: Verdict | None = None) -> None:
        latch = self.gate.latch_cause
        if latch is Cause.NONE:
            return
        last = f" The last command was refused for {verdict.cause.name}." if verdict else ""
        raise GateRefusal(
            f"The safety gate is latched ({latch.name}).{last} Nothing moves until an operator "
            "has found out why and calls gate.release()."
        )

    def _halt_after(self, error: RobotError) -> None:
        """Halt; when that fails too, `error` says so."""
        try:
            self._robot.halt()
        except RobotError as second:
            error.add_note(f"Halting failed too: {second}")
