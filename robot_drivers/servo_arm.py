"""ServoArm: any arm with a servo interface as a `Robot`, its SDK in a thread of its own.

    control loop  write(action) ──▶ path ──at(now)──▶ I/O thread ──small steps──▶ SDK
                  read() ◀── newest sample ◀────────── I/O thread ◀──────────── SDK

No call of the control loop waits for the SDK: a frozen controller holds the thread up,
and the loop sees a sample that ages and then `ArmSilent`. A thread shares the interpreter
with the policy: a policy that keeps it busy costs servo ticks, so serve such a policy from
another process (`vla serve`).
"""

import atexit
import threading
import time

import numpy as np

from robot_drivers.arm_body import ArmBody
from robot_drivers.cameras import Frames
from robot_drivers.servo_link import Sample, ServoLink, require_finite
from robot_drivers.servo_path import JointPath, ToolPath
from vla.errors import ArmSilent, RobotError
from vla.runtime.ticker import Ticker
from vla.types import Float32

EXIT = 8.0
JOIN = 2.0
"""Seconds that `close` waits for the thread; one that hangs in the SDK closes by itself later."""


class ServoArm:
    """Implements `robot_world.Device` and, without pictures, `CameraSource`.

    Attributes:
        embodiment: axes, rate.
        link: the SDK.
    """

    def __init__(
        self, body: ArmBody, link: ServoLink, *, servo_hz: float, silence: float, patience: float
    ):
        """Nothing is opened before `connect`.

        Args:
            body: axes and limits.
            link: the SDK behind the seam.
            servo_hz: small steps per second.
            silence: seconds without a fresh sample after which the arm counts as silent.
            patience: seconds that `connect` waits for the first sample.
        """
        self.embodiment, self.link = body.embodiment, link
        self._body, self._servo_hz = body, servo_hz
        self._silence, self._patience = silence, patience
        self._lock = threading.Lock()
        self._first, self._held = threading.Event(), threading.Event()
        self._ending = self._halting = False
        self._thread: threading.Thread | None = None
        self._error: RobotError | None = None
        self._sample: Sample | None = None
        self._fresh = 0.0
        self._path: JointPath | ToolPath | None = None
        self._grip: float | None = None

    def connect(self) -> None:
        """Open the SDK and wait for the first sample; the arm does not move.

        Raises:
            RobotError: with the SDK's words; ArmSilent when nothing comes.
        """
        if self._thread is not None:
            if not self._ending and self._thread.is_alive() and self._error is None:
                return
            self._join()
        self._error, self._sample, self._path = None, None, None
        self._ending = self._halting = False
        self._first.clear()
        self._thread = threading.Thread(target=self._run, name=self.embodiment.name, daemon=True)
        self._thread.start()
        atexit.register(self._thread.join, EXIT)  # an SDK's C++ threads abort a hasty exit
        self._first.wait(self._patience)
        self._raise_error()
        if self._sample is None:
            self._ending = True
            raise ArmSilent(
                f"{self.embodiment.name} told no state within {self._patience:.0f} s of "
                "connecting. Check power, network and the address (robot.host)."
            )

    def read(self) -> tuple[Float32, float]:
        """State (S,) float32 and when it came, monotonic seconds.

        Raises:
            ArmSilent: when nothing fresh came for `silence` seconds, or the SDK lost it.
            ArmStopped: when the arm's own controller has stopped it.
        """
        sample = self._newest()
        return self._body.state(sample), self._fresh

    def write(self, action: Float32) -> Float32:
        """Head for one command (A,); what is really headed for, bounded by the driver's speeds.

        Raises:
            RobotError: for a command that is not finite, or an arm that does not follow.
        """
        command = require_finite(np.asarray(action, np.float64), "Command")
        if command.shape != (len(self.embodiment.action),):
            raise RobotError(f"Command {command.shape} does not fit {self.embodiment.name}.")
        sample, now = self._newest(), time.monotonic()
        with self._lock:
            self._halting = False
            path = self._path or self._body.path(sample, now)
            lag = path.lag(sample, now)
            if lag > self._body.lag:
                raise RobotError(
                    f"{self.embodiment.name} is {lag:.3f} {self._body.lag_unit} behind its "
                    "commands: something blocks it, or it is slower than robot.speed."
                )
            size = self._body.axes
            sent = path.steer(command[:size], now)
            grip = np.clip(command[size:], 0.0, 1.0)
            self._path, self._grip = path, float(grip[0]) if grip.size else None
            self._held.clear()
        return np.concatenate([sent, grip]).astype(np.float32)

    def halt(self) -> None:
        """Decelerate and hold with torque on; idempotent.

        Raises:
            ArmSilent: when the arm does not confirm within `silence` seconds.
        """
        if self._thread is None or self._held.is_set():
            return
        with self._lock:
            self._path, self._halting = None, True
        if not self._held.wait(self._silence):
            raise ArmSilent(
                f"{self.embodiment.name} does not confirm that it stopped. Use the hardware stop."
            )

    def latest(self) -> Frames:
        """No pictures: the arm has no cameras of its own."""
        return {}

    def close(self) -> None:
        """Hold, then disconnect; idempotent. Bounded: see `JOIN`."""
        self._ending = True
        if self._thread is not None:
            self._thread.join(JOIN)

    def release(self) -> None:
        """For an operator, never a loop: motors off. The arm may sag where it has no brakes."""
        self.link.release()

    def recover(self) -> None:
        """For an operator who has looked: clear a stop or an error; then connect again."""
        self.close()
        self._join()
        self.link.recover()

    def _join(self) -> None:
        """Wait until an earlier connection has ended. Raises ArmSilent."""
        if self._thread is None:
            return
        self._thread.join(self._patience)
        if self._thread.is_alive():
            raise ArmSilent(
                f"The last connection to {self.embodiment.name} hangs in its SDK; check the arm, "
                "then start this program anew."
            )

    def _newest(self) -> Sample:
        self._raise_error()
        sample, age = self._sample, time.monotonic() - self._fresh
        if sample is None or self._ending or not self._thread.is_alive():
            raise RobotError(f"{self.embodiment.name} is not connected; call connect() first.")
        if age > self._silence:
            raise ArmSilent(
                f"{self.embodiment.name} has told nothing new for {age:.2f} s: its controller "
                "is frozen or the network is down. Check it before anything else moves."
            )
        return sample

    def _raise_error(self) -> None:
        if self._error is not None:
            raise type(self._error)(str(self._error)) from self._error

    def _run(self) -> None:
        """Body of the thread."""
        try:
            self.link.open()
            ticker = Ticker(self._servo_hz)
            ticker.start()
            while not self._ending:
                self._take(self.link.sense())
                self._drive()
                ticker.wait()
            if self._path is not None:
                self._stop()
        except RobotError as error:
            self._error = error
            self._first.set()
            self._stop_after(error)
        finally:
            self.link.close()

    def _take(self, sample: Sample) -> None:
        if self._sample is None or sample.stamp != self._sample.stamp:
            self._sample, self._fresh = sample, time.monotonic()
            self._first.set()

    def _drive(self) -> None:
        with self._lock:
            path, grip, halting = self._path, self._grip, self._halting
        if halting:
            self._stop()
            self._halting = False
        elif path is not None and time.monotonic() - self._fresh <= self._silence:
            target = require_finite(path.at(time.monotonic()), "Servo target")
            self.link.servo(target, grip)

    def _stop(self) -> None:
        self.link.stop()
        self._path = None
        self._held.set()

    def _stop_after(self, error: RobotError) -> None:
        """Hold an arm that can still be told to; `error` says when it cannot."""
        try:
            self._stop()
        except RobotError as second:
            error.add_note(f"Stopping failed too: {second}")
