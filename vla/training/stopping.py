"""A run that is asked to stop finishes its step, saves, and leaves."""

import signal
import threading
import time
from types import FrameType, TracebackType


class StopRequest:
    """Listens for SIGTERM, SIGINT and the end of a time budget while entered.

    The first signal is noted in `reason`; a second one acts as it would have without us, so
    that Ctrl-C twice still interrupts. The former handlers are put back on leaving. Outside
    the main thread Python forbids handlers: only the time budget is watched there.
    """

    def __init__(self, time_limit_s: float | None = None):
        self._limit = time_limit_s
        self._began = time.monotonic()
        self._signal = ""
        self._former: dict[int, object] = {}

    @property
    def reason(self) -> str:
        """Why to stop ("SIGTERM", "time limit of 60 s"); empty while there is no reason."""
        if self._signal:
            return self._signal
        if self._limit is not None and time.monotonic() - self._began >= self._limit:
            return f"time limit of {self._limit:g} s"
        return ""

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._put_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        self._put_back()

    def _put_back(self) -> None:
        while self._former:
            number, handler = self._former.popitem()
            signal.signal(number, handler)
