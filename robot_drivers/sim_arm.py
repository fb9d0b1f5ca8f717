"""SimArm: a robot that lives in its own process, in wall-clock time, like a real one.

The control loop and the plant share no step: the plant runs on its own grid of the
monotonic clock, applies every command once and in order, holds when none comes,
and publishes state and pictures with their capture times. So the loop meets what a robot
has and a simulation has not: age, jitter, missed slots, and an arm that moves on while a
policy thinks.

    parent  SimArm ──command slot──▶ plant process ──state slot, frame slot──▶ SimArm
                   ◀──────pipe: scenes, errors──────▶

Time stands still from `arrange` to the first command, so that loading a policy does not
use an episode up. From then on it runs with the clock, whatever happens.
"""

import multiprocessing
from collections.abc import Callable

import numpy as np

from robot_drivers.cameras import Frames
from robot_drivers.limits import still_command
from robot_drivers.plant import RING, Plant, command_fields, frame_fields, serve, state_fields
from vla.embodiment import Embodiment
from vla.errors import RobotError
from vla.runtime.child import end_child
from vla.runtime.shared_slot import SharedSlot
from vla.types import Float32, Outcome


class SimArm:
    """Implements Robot, CameraSource and Scene for `RobotWorld`. Close it when done.

    Attributes:
        scheduler: "normal" or "real-time <level>", as the plant's process obtained it.
    """

    def __init__(
        self,
        factory: Callable[[], Plant],
        *,
        step_hz: float = 100.0,
        start_timeout: float = 60.0,
        priority: int = 0,
    ):
        """Start the process and wait until the plant is built.

        Args:
            factory: picklable; called in the new process.
            step_hz: physics steps per second; a multiple of the embodiment's rate.
            start_timeout: seconds to wait for the plant, and for each scene.
            priority: real-time priority to ask for (see `vla.runtime.priority`); 0: none.

        Raises:
            RobotError: when the process fails, or takes longer.
        """
        self._timeout = start_timeout
        self._slots: list[SharedSlot] = []
        self._number = 0
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(factory, theirs, step_hz, priority), name="sim-arm", daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            self.embodiment = Embodiment.from_json(self._receive())
            for fields in (command_fields, state_fields, frame_fields):
                self._slots.append(SharedSlot(fields(self.embodiment)))
            self._command, self._state, self._frames = self._slots
            self._pipe.send([slot.name for slot in self._slots])
            self.scheduler = str(self._receive())
        except RobotError:
            self.close()
            raise
        self._last: Float32 | None = None
        self._waiting = np.zeros((RING, len(self.embodiment.action)), np.float32)

    # Scene

    def arrange(self, *, seed: int) -> str:
        """Set the scene of `seed` up, arm at its start, time standing still; the instruction."""
        self._require_alive()
        self._last = None
        self._pipe.send(seed)
        return self._receive()

    def outcome(self) -> Outcome:
        """As of the newest frame."""
        record = self._newest(self._state, "state")
        return Outcome(
            success=bool(record["success"]),
            ended=bool(record["ended"]),
            reason=bytes(record["reason"]).decode(errors="replace"),
        )

    # Robot

    def connect(self) -> None:
        """Check that the process lives and a scene is arranged."""
        self._require_alive()
        self._newest(self._state, "state")

    def read(self) -> tuple[Float32, float]:
        """State (S,) float32 and its capture time. Raises RobotError when the process died."""
        self._require_alive()
        record = self._newest(self._state, "state")
        return record["state"].copy(), float(record["time"])

    def write(self, action: Float32) -> Float32:
        """Hand one command over; the plant applies it once, normally within a physics step."""
        self._require_alive()
        self._number += 1
        self._last = np.array(action, np.float32)
        self._waiting[self._number % RING] = self._last
        self._command.write(number=self._number, actions=self._waiting)
        return self._last.copy()

    def halt(self) -> None:
        """Command no further motion: zero deltas, absolute axes where they were sent last."""
        if self._last is not None and self._process.is_alive():
            self.write(still_command(self.embodiment, self._last))

    # CameraSource

    def latest(self) -> Frames:
        """The newest picture of every camera, all captured at once."""
        if not self.embodiment.cameras:
            return {}
        record = self._newest(self._frames, "picture")
        return {name: (record[name].copy(), float(record["time"])) for name in _names(record)}

    def close(self) -> None:
        """End the process and free the shared memory; idempotent."""
        end_child(self._pipe, self._process, patience=2.0)
        for slot in self._slots:
            slot.close()

    def _receive(self) -> object:
        """The child's answer. Raises RobotError with its words when it failed or takes too long."""
        try:
            if not self._pipe.poll(self._timeout):
                raise RobotError(f"The simulated arm gave no answer in {self._timeout:.0f} s.")
            kind, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(2.0)
            raise RobotError(
                f"The simulated arm's process died (exit code {self._process.exitcode}); "
                "its own message is on the standard error output."
            ) from error
        if kind == "error":
            raise RobotError(f"The simulated arm failed: {value}")
        return value

    def _require_alive(self) -> None:
        if not self._process.is_alive():
            if not self._pipe.closed and self._pipe.poll(0):
                self._receive()  # raises with the child's last words
            raise RobotError(
                f"The simulated arm's process has ended (exit code {self._process.exitcode})."
            )

    def _newest(self, slot: SharedSlot, what: str) -> np.void:
        record = slot.read()
        if record is None:
            raise RobotError(f"The simulated arm has no {what} yet; arrange a scene first.")
        return record


def _names(record: np.void) -> list[str]:
    return [name for name in record.dtype.names if name not in ("seq", "time")]
