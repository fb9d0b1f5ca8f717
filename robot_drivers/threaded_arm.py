"""A device whose calls may take any time, in a thread of its own: the loop never waits for it.

    loop  write ──▶ newest command ──▶ thread ──▶ device;   read ◀── newest state ◀── thread

Robots without a servo bus (a network client, a vendor's library) promise nothing about how
long a call takes. One that hangs holds the thread up; the loop sees the state grow old, the
gate holds, and `read` says who is silent.
"""

import threading
import time

import numpy as np

from robot_drivers.device import Device
from vla.errors import ArmSilent, RobotError
from vla.types import Float32

JOIN = 2.0


class ThreadedArm:
    """Implements `device.Device`; `close` it when done.

    Between commands the thread reads at the control rate; a command is passed on once.
    """

    def __init__(self, robot: Device, *, silence: float = 0.5, patience: float = 10.0):
        """Wrap `robot`; opens nothing.

        Args:
            robot: all its calls are made in one thread.
            silence: seconds without a state after which the robot counts as silent.
            patience: seconds that connecting may take.
        """
        self.embodiment = robot.embodiment
        self._robot, self._silence, self._patience = robot, silence, patience
        self._ready, self._held = threading.Event(), threading.Event()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ending = self._halting = False
        self._command: Float32 | None = None
        self._state: tuple[Float32, float] | None = None
        self._error: RobotError | None = None

    def connect(self) -> None:
        """Open the device in its thread. Raises RobotError; ArmSilent when it takes too long."""
        self.close()
        self._ready.clear()
        self._held.clear()
        self._ending = self._halting = False
        self._state = self._error = self._command = None
        self._thread = threading.Thread(target=self._run, name=self.embodiment.name, daemon=True)
        self._thread.start()
        if not self._ready.wait(self._patience):
            self._ending = True
            raise ArmSilent(
                f"{self.embodiment.name} did not connect within {self._patience:.0f} s."
            )
        self._raise_error()

    def read(self) -> tuple[Float32, float]:
        """The newest state and its time. Raises ArmSilent, or what the device raised."""
        self._raise_error()
        if self._state is None or self._thread is None:
            raise RobotError(f"{self.embodiment.name} is not connected.")
        state, when = self._state
        age = time.monotonic() - when
        if age > self._silence:
            raise ArmSilent(f"{self.embodiment.name} has told nothing new for {age:.2f} s.")
        return state.copy(), when

    def write(self, action: Float32) -> Float32:
        """Hand a command to the thread; it counts as sent. Raises what the device raised."""
        self.read()
        with self._wake:
            self._command = np.array(action, np.float32)
            self._halting = False
            self._held.clear()
            self._wake.notify()
        return self._command

    def halt(self) -> None:
        """Hold; idempotent. Raises ArmSilent when the device does not confirm in time."""
        if self._thread is None or self._held.is_set() or self._state is None:
            return
        with self._wake:
            self._command, self._halting = None, True
            self._wake.notify()
        if not self._held.wait(self._silence):
            raise ArmSilent(
                f"{self.embodiment.name} does not confirm that it stopped. Use the hardware stop."
            )

    def close(self) -> None:
        """Hold and disconnect, torque on; idempotent. A thread that hangs is left behind."""
        self._ending = True
        with self._wake:
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(JOIN)
            self._thread = None

    def _raise_error(self) -> None:
        if self._error is not None:
            raise type(self._error)(str(self._error)) from self._error

    def _run(self) -> None:
        try:
            self._robot.connect()
            while not self._ending:
                self._state = self._robot.read()
                self._ready.set()
                with self._wake:
                    if self._command is None and not self._halting:
                        self._wake.wait(1.0 / self.embodiment.hz)
                    command, self._command = self._command, None
                    halting, self._halting = self._halting, False
                if command is not None:
                    self._robot.write(command)
                if halting:
                    self._robot.halt()
                    self._held.set()
            self._robot.halt()
        except RobotError as error:
            self._error = error
            self._ready.set()
        finally:
            self._robot.close()
