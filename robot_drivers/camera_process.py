"""Cameras in a process of their own: decoding never shares the interpreter with the control loop.

    camera process:  any CameraSource ──newest pictures──▶ shared ring ──▶ ProcessCameras.latest

The ring has a few records, so that a reader never meets the one that is being written. A
process that dies leaves its last pictures, whose age grows until the gate holds; `latest`
says so as soon as it is asked.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

from robot_drivers.cameras import CameraSource, Frames, check_frames
from vla.embodiment import Embodiment
from vla.errors import RobotError, VlaError
from vla.runtime.child import end_child
from vla.runtime.shared_slot import SharedSlot

RING = 4
"""Records: one is written, one is read, two are between them."""


def ring_fields(body: Embodiment) -> list[tuple]:
    """Running number, and of every camera a picture and its capture time."""
    fields: list[tuple] = [("number", "<u8")]
    for name, camera in sorted(body.cameras.items()):
        fields += [
            (f"image_{name}", "u1", (camera.height, camera.width, 3)),
            (f"time_{name}", "<f8"),
        ]
    return fields


def watch_cameras(
    factory: Callable[[], CameraSource], body: dict, names: list[str], pipe: Connection, hz: float
) -> None:
    """Body of the process: publish whenever a picture is new, until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent, embodiment = os.getppid(), Embodiment.from_json(body)
    ring = [SharedSlot(ring_fields(embodiment), name=name) for name in names]
    source = None
    try:
        source = factory()
        number, seen = 0, {}
        while os.getppid() == parent and not pipe.poll():
            frames = source.latest()
            times = {name: when for name, (_, when) in frames.items()}
            if times != seen:
                check_frames(frames, embodiment)
                number, seen = number + 1, times
                record = {f"image_{name}": image for name, (image, _) in frames.items()}
                record |= {f"time_{name}": when for name, when in times.items()}
                ring[number % RING].write(number=number, **record)
                if number == 1:
                    pipe.send("")
            time.sleep(1.0 / hz)
    except VlaError as error:
        pipe.send(f"{type(error).__name__}: {error}")
    except (EOFError, BrokenPipeError):
        pass  # the parent closed its end: that is how it says goodbye
    finally:
        if source is not None:
            source.close()
        for slot in ring:
            slot.close()


class ProcessCameras:
    """Implements CameraSource over a source that lives in another process. Close it when done."""

    def __init__(
        self,
        factory: Callable[[], CameraSource],
        body: Embodiment,
        *,
        hz: float = 200.0,
        start_timeout: float = 30.0,
    ):
        """Start the process and wait for the first pictures.

        Args:
            factory: picklable; called in the new process.
            body: names and sizes of the cameras.
            hz: how often the process looks for a new picture, per second.
            start_timeout: seconds that the first picture may take.

        Raises:
            RobotError: when the cameras fail, or give nothing in time.
        """
        self._names = sorted(body.cameras)
        self._ring = [SharedSlot(ring_fields(body)) for _ in range(RING)]
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        names = [slot.name for slot in self._ring]
        self._process = context.Process(
            target=watch_cameras,
            args=(factory, body.to_json(), names, theirs, hz),
            name="cameras",
            daemon=True,
        )
        self._process.start()
        theirs.close()
        try:
            self._await_pictures(start_timeout)
        except RobotError:
            self.close()
            raise

    def latest(self) -> Frames:
        """The newest pictures. Raises RobotError when the process has ended."""
        if not self._process.is_alive():
            words = self._last_words()
            raise RobotError(f"The camera process has ended. {words}".strip())
        records = [record for slot in self._ring if (record := slot.peek()) is not None]
        newest = max(records, key=lambda record: int(record["number"]))
        return {
            name: (np.array(newest[f"image_{name}"]), float(newest[f"time_{name}"]))
            for name in self._names
        }

    def close(self) -> None:
        """End the process and free the memory; idempotent."""
        end_child(self._pipe, self._process, patience=2.0)
        for slot in self._ring:
            slot.close()

    def _await_pictures(self, timeout: float) -> None:
        if not self._pipe.poll(timeout):
            raise RobotError(f"The cameras gave no picture within {timeout:.0f} s.")
        if words := self._last_words():
            raise RobotError(f"The cameras failed: {words}")

    def _last_words(self) -> str:
        try:
            return str(self._pipe.recv()) if self._pipe.poll() else ""
        except (EOFError, OSError):
            return "It died without a word; see the standard error output."
