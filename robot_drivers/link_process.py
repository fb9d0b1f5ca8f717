"""A `ServoLink` in a process of its own, for an SDK that can take its process down with it.

    I/O thread of `ServoArm` ── name, arguments ──▶ child: the vendor's SDK ──▶ controller
                             ◀── answer or error ──

An SDK that crashes or hangs becomes `ArmSilent` for the control loop, which goes on, keeps
its flight log and says what happened; the arm is left to the device's own watchdog. A call
costs one round trip through a pipe more, some 0.1 ms.
"""

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from robot_drivers.servo_link import Float64, Sample, ServoLink
from vla.errors import ArmSilent, RobotError
from vla.runtime.child import end_child

END = 2.0
"""Seconds that the SDK may take to disconnect; then its process is killed."""


def serve_link(build: Callable[[], ServoLink], pipe: Connection) -> None:
    """Body of the process: obey until the parent closes its end, or is gone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole group; the parent decides
    link = build()
    try:
        while True:
            name, arguments = pipe.recv()
            try:
                answer = getattr(link, name)(*arguments)
            except RobotError as error:
                answer = error
            pipe.send(answer)
    except (EOFError, OSError):
        pass  # that is how the parent says goodbye
    finally:
        link.close()


class LinkProcess:
    """Implements `ServoLink` over another one, which lives in a child process while it is open."""

    def __init__(self, build: Callable[[], ServoLink], *, patience: float):
        """Nothing is started before `open`.

        Args:
            build: picklable; makes the link, in the child.
            patience: seconds that one call may take.
        """
        self._build, self._patience = build, patience
        self._pipe: Connection | None = None
        self._process: BaseProcess | None = None

    def open(self) -> None:
        """Start the process and connect. Raises RobotError, like every call of a link."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve_link, args=(self._build, theirs), name="servo-link"
        )
        self._process.start()
        theirs.close()
        self._ask("open")

    def sense(self) -> Sample:
        """The newest reading."""
        return self._ask("sense")

    def servo(self, target: Float64, grip: float | None) -> None:
        """Stream one small step."""
        self._ask("servo", target, grip)

    def stop(self) -> None:
        """Decelerate and hold."""
        self._ask("stop")

    def close(self) -> None:
        """Disconnect; an SDK that hangs is killed, and the device's watchdog holds the arm."""
        if self._process is not None:
            end_child(self._pipe, self._process, patience=END)
        self._pipe = self._process = None

    def recover(self) -> None:
        """For an operator: over a link of its own, beside the open one."""
        self._build().recover()

    def release(self) -> None:
        """For an operator: likewise."""
        self._build().release()

    def _ask(self, name: str, *arguments: Any) -> Any:
        if self._pipe is None:
            raise ArmSilent("The arm's SDK is not running; connect first.")
        try:
            self._pipe.send((name, arguments))
            if not self._pipe.poll(self._patience):
                raise ArmSilent(f"The arm's SDK hangs in {name}() for {self._patience:.0f} s.")
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ArmSilent(
                f"The arm's SDK crashed in {name}(). The arm's own watchdog stops it; look at "
                "it, then connect again."
            ) from error
        if isinstance(answer, RobotError):
            raise answer
        return answer
