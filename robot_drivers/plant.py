"""The process behind `SimArm`: runs a plant against the monotonic clock and publishes it."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol, runtime_checkable

from vla.embodiment import Embodiment
from vla.errors import ConfigError, VlaError
from vla.runtime.priority import take_priority
from vla.runtime.shared_slot import SharedSlot
from vla.runtime.ticker import Ticker
from vla.types import Float32, Observation, Outcome

CATCH_UP = 0.25
"""Most seconds of physics in one go after a stall; what is beyond is lost, not made up for."""
RING = 16
"""Commands that may wait for a plant that is late."""


@runtime_checkable
class Plant(Protocol):
    """A simulated arm and scene whose time somebody else drives."""

    embodiment: Embodiment

    def reset(self, *, seed: int) -> Observation:
        """Begin an episode."""
        ...

    def command(self, action: Float32) -> None:
        """Take over one command (A,); nothing moves until `advance`."""
        ...

    def advance(self, seconds: float) -> None:
        """Let physics pass."""
        ...

    def observe(self) -> Observation:
        """State and pictures now (T == 1)."""
        ...

    def outcome(self) -> Outcome:
        """How the episode stands."""
        ...

    def close(self) -> None:
        """Free the GL context; idempotent."""
        ...


@runtime_checkable
class Measurable(Protocol):
    """A plant that can tell its state without rendering: it is published at every step.

    Others publish it with the pictures only. Then the state's age depends on the phase
    between plant and control loop, and where the two nearly coincide, jitter makes the
    loop see one sample twice and miss the next.
    """

    def measure(self) -> Float32:
        """State (S,) float32 now."""
        ...


def command_fields(embodiment: Embodiment) -> list[tuple]:
    """The last `RING` commands: number n (from 1) lies at n % RING; `number` is the newest."""
    return [("number", "<u8"), ("actions", "<f4", (RING, len(embodiment.action)))]


def state_fields(embodiment: Embodiment) -> list[tuple]:
    """State, capture time, number of the last command applied, outcome."""
    return [
        ("time", "<f8"),
        ("applied", "<u8"),
        ("state", "<f4", (len(embodiment.state),)),
        ("success", "?"),
        ("ended", "?"),
        ("reason", "S96"),
    ]


def frame_fields(embodiment: Embodiment) -> list[tuple]:
    """One picture per camera, all of one capture time."""
    pictures = [(n, "u1", (c.height, c.width, 3)) for n, c in sorted(embodiment.cameras.items())]
    return [("time", "<f8"), *pictures]


def serve(factory: Callable[[], Plant], pipe: Connection, step_hz: float, priority: int) -> None:
    """Body of the process: build the plant, then run it until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent decides
    parent = os.getppid()
    scheduler = take_priority(priority)  # real hardware does not wait for the host's CPU either
    plant = None
    slots: list[SharedSlot] = []
    try:
        plant = factory()
        pipe.send(("embodiment", plant.embodiment.to_json()))
        for name, fields in zip(
            pipe.recv(), (command_fields, state_fields, frame_fields), strict=True
        ):
            slots.append(SharedSlot(fields(plant.embodiment), name=name))
        runner = PlantRunner(plant, pipe, *slots, step_hz=step_hz)
        pipe.send(("ready", scheduler))
        runner.run(lambda: os.getppid() == parent)
    except VlaError as error:
        pipe.send(("error", f"{type(error).__name__}: {error}"))
    except (EOFError, BrokenPipeError):
        pass  # the parent closed its end: that is how it says goodbye
    finally:
        if plant is not None:
            plant.close()
        for slot in slots:
            slot.close()


class PlantRunner:
    """Commands in, physics against the clock, states and pictures out."""

    def __init__(
        self,
        plant: Plant,
        pipe: Connection,
        command: SharedSlot,
        state: SharedSlot,
        frames: SharedSlot,
        *,
        step_hz: float,
    ):
        """Raises ConfigError when the plant's rate does not divide `step_hz`."""
        self._every = round(step_hz / plant.embodiment.hz)
        if self._every < 1 or abs(self._every * plant.embodiment.hz - step_hz) > 1e-6:
            raise ConfigError(
                f"robot.step_hz is {step_hz}; it must be a multiple of the arm's control rate, "
                f"{plant.embodiment.hz} Hz."
            )
        self._plant, self._pipe = plant, pipe
        self._command, self._state, self._frames = command, state, frames
        self._step = 1.0 / step_hz
        self._arranged = self._moving = False
        self._applied = 0

    def run(self, wanted: Callable[[], bool]) -> None:
        """Loop while `wanted()`; one pass per physics step."""
        ticker = Ticker(1.0 / self._step)
        ticker.start()
        last_frame = -1
        while wanted():
            slot = ticker.wait()
            if self._pipe.poll():
                self._arrange(self._pipe.recv())
            if not self._arranged:
                continue
            self._obey()
            if self._moving:
                self._plant.advance(min((1 + slot.missed) * self._step, CATCH_UP))
            frame = slot.index // self._every
            if frame > last_frame:
                last_frame = frame
                self._publish()
            elif isinstance(self._plant, Measurable):
                self._publish_state(self._plant.measure(), time.monotonic())

    def _arrange(self, seed: int) -> None:
        """Begin an episode and answer with its instruction."""
        observation = self._plant.reset(seed=seed)
        self._arranged, self._moving = True, False
        command = self._command.read()
        self._applied = 0 if command is None else int(command["number"])  # none of the old ones
        self._publish()
        self._pipe.send(("arranged", observation.instruction))

    def _obey(self) -> None:
        """Apply the oldest waiting command, once: at most one per step, so never a burst."""
        command = self._command.read()
        newest = 0 if command is None else int(command["number"])
        if newest > self._applied:
            number = max(self._applied + 1, newest - RING + 1)
            self._plant.command(command["actions"][number % RING].copy())
            self._applied, self._moving = number, True

    def _publish(self) -> None:
        """Render, and hand state and pictures over with the time before rendering."""
        captured = time.monotonic()
        observation = self._plant.observe()
        self._publish_state(observation.state[-1], captured)
        pictures = {name: images[-1] for name, images in observation.images.items()}
        if pictures:
            self._frames.write(time=captured, **pictures)

    def _publish_state(self, state: Float32, captured: float) -> None:
        outcome = self._plant.outcome()
        self._state.write(
            time=captured,
            applied=self._applied,
            state=state,
            success=outcome.success,
            ended=outcome.ended,
            reason=outcome.reason.encode()[:96],
        )
