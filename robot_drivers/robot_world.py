"""RobotWorld: a robot and its cameras as a World, with the safety gate inside.

    step(action): stops ──▶ gate ──▶ robot.write ──▶ flight log ──▶ wait for the slot ──▶ read

Stale data make the gate hold, and latch when they stay stale. A gate that latches slows the
arm down to rest, then halts it and ends the episode with an error; the emergency stop and a
device that fails do so at once.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from robot_drivers.cameras import CameraSource, Frames, check_frames, oldest_time
from robot_drivers.causes import CAUSES, Cause
from robot_drivers.device import Device, Operator, Pilot, Resumable, Scene
from robot_drivers.gate import SafetyGate, Verdict
from robot_drivers.stops import StopSource
from vla.embodiment import Embodiment
from vla.errors import GateRefusal, RobotError
from vla.runtime.record import FlightLog
from vla.runtime.states import State
from vla.runtime.ticker import Slot, Ticker
from vla.types import Float32, Observation, Outcome

__all__ = ["CAUSES", "Device", "Pilot", "RobotWorld", "Scene"]
FIRST_LOOKS, LOOK_PAUSE = 20, 0.05
"""How often cameras are asked for a fresh picture before a flight, and seconds in between."""


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
        pilot: Pilot | None = None,
        stops: Sequence[StopSource] = (),
        operator: Operator | None = None,
        embodiment: Embodiment | None = None,
        clock: Callable[[], float] = time.monotonic,
        ticker: Ticker | None = None,
    ):
        """Nothing is opened or moved before `reset`.

        Args:
            robot: closed by `close`.
            cameras: closed by `close`.
            gate: built for the embodiment below.
            instruction: what to do; empty: what the scene says.
            scene: sets episodes up and judges them; None: a person does.
            log: written every tick; stays open.
            pilot: the controller, when it does not wait for its plans.
            stops: emergency stops, asked before every command; closed by `close`.
            operator: sees every state; ends holds that wait for a person.
            embodiment: the robot's at another rate of commands; None: as it is.
            clock: seconds, monotonic; shared with the robot's capture times.
            ticker: the control grid; None: the embodiment's rate.
        """
        self.embodiment: Embodiment = embodiment or robot.embodiment
        self.gate = gate
        self._pilot, self._stops, self._operator = pilot, stops, operator
        self._robot, self._cameras, self._scene, self._log = robot, cameras, scene, log
        self._instruction, self._said = instruction, instruction
        self._clock = clock
        self._ticker = ticker or Ticker(self.embodiment.hz)
        self._connected = self._closed = False
        self._slot: Slot | None = None
        self._frame = np.zeros(len(self.embodiment.cameras), np.uint32)
        self._captured = np.full(len(self.embodiment.cameras), np.nan)

    def reset(self, *, seed: int, inside: bool = True) -> Observation:
        """Set the scene up, connect, and check that the arm may start where it stands.

        Args:
            seed: of the scene.
            inside: refuse a start outside the limits; False: the caller brings the arm in.

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
        observation, age = self._observe_afresh()
        if not age <= self.gate.max_age:
            raise RobotError(
                f"The newest state or picture is {age:.2f} s old; at most {self.gate.max_age} s "
                "are allowed. Check the cameras and the arm."
            )
        problems = self.gate.check_start(observation.state[-1])
        if problems and inside:
            raise RobotError(
                f"The arm may not start here: {'; '.join(problems)}. Move it inside by hand."
            )
        return observation

    def _observe_afresh(self) -> tuple[Observation, float]:
        """State and pictures, and their age; nothing moves yet, so slow ones get another chance."""
        for left in reversed(range(FIRST_LOOKS)):
            observation = self._observe()
            age = self._age(self._clock())
            if age <= self.gate.max_age or not left:
                break
            time.sleep(LOOK_PAUSE)
        return observation, age

    def step(self, action: Float32) -> Observation:
        """Judge, send, log, wait for the next slot of the grid, and observe.

        Raises:
            GateRefusal: when the gate latches; the robot has been halted.
            RobotError: when a device fails; the robot has been halted.
        """
        if self._slot is None:
            self._slot = self._ticker.start()
        for source in self._stops:
            pressed = source.pressed()
            if pressed is not Cause.NONE:
                self.gate.latch(pressed)
        now = self._clock()
        age, plan_age = self._age(now), self._pilot.plan_age(now) if self._pilot else 0.0
        verdict = self.gate.judge(
            action, state=self._state, age=age, plan_age=plan_age, missed=self._slot.missed
        )
        self._tick = {"age": age, "plan_age": plan_age, "time": self._clock()}
        try:
            sent = self._robot.write(verdict.sent)
            self._record(verdict, sent=sent, cause=verdict.cause)
            if self._pilot is not None:
                self._pilot.sent(verdict.sent)
            self._attend(verdict.cause)
            if verdict.cause is Cause.ESTOP or self.gate.at_rest:
                self._refuse_if_latched(verdict)
            self._slot = self._ticker.wait()
            return self._observe()
        except GateRefusal as error:
            self._halt_after(error)
            raise
        except RobotError as error:
            self.gate.latch(Cause.FAULT)
            unknown = np.full(len(self.embodiment.action), np.nan, np.float32)
            self._record(verdict, sent=unknown, cause=Cause.FAULT)
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
                for source in self._stops:
                    source.close()

    def _observe(self) -> Observation:
        state, self._state_time = self._robot.read()
        if state.shape != (len(self.embodiment.state),) or not np.isfinite(state).all():
            raise RobotError(f"The robot measured {state.tolist()}; a sensor is not to be trusted.")
        frames: Frames = self._cameras.latest()
        check_frames(frames, self.embodiment)
        self._state, self._image_time = state, oldest_time(frames)
        for index, name in enumerate(self.embodiment.cameras):
            if frames[name][1] != self._captured[index]:
                self._frame[index] += 1
                self._captured[index] = frames[name][1]
        return Observation(
            images={name: frames[name][0][None] for name in self.embodiment.cameras},
            state=state[None],
            instruction=self._said,
            time=self._state_time,
        )

    def _age(self, now: float) -> float:
        """Seconds since the older of state and pictures was captured."""
        return float(now - np.fmin(self._state_time, self._image_time))

    def _record(self, verdict: Verdict, *, sent: Float32, cause: Cause) -> None:
        if self._log is None:
            return
        self._log.append(
            **self._tick,
            io_time=self._clock() - self._tick["time"],
            deadline=self._slot.deadline,
            lateness=self._slot.lateness,
            missed=self._slot.missed,
            mode=int(self._mode(cause)),
            state=self._state,
            state_time=self._state_time,
            image_time=self._image_time,
            frame=self._frame,
            captured=self._captured,
            wanted=verdict.wanted,
            gated=verdict.sent,
            sent=sent,
            cause=int(cause),
            latched=self.gate.latch_cause is not Cause.NONE,
            abrupt=verdict.abrupt,
        )

    def _mode(self, cause: Cause) -> State:
        """What the robot is doing in this tick."""
        latch = self.gate.latch_cause
        if latch is not Cause.NONE:
            return {Cause.ESTOP: State.ESTOP, Cause.FAULT: State.FAULT}.get(latch, State.STOP)
        holding = self._pilot is not None and self._pilot.holding
        return State.RUN if cause is Cause.NONE and not holding else State.HOLD

    def _attend(self, cause: Cause) -> None:
        """Show the operator what this tick did; what he allows counts from the next one on."""
        if self._operator is None:
            return
        state, pilot = self._mode(cause), self._pilot
        far = isinstance(pilot, Resumable) and pilot.far and not cause
        why = cause.name if cause else "FAR" if far else "PLAN"
        self._operator.show(state, "" if state is State.RUN else why)
        if self._operator.resumes() and far and state is State.HOLD:
            pilot.resume()
            if self._log is not None:
                self._log.note(resumed=True)

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
