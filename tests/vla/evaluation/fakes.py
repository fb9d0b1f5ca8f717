"""A point on a table that must reach a coloured dot, and small policies for it."""

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from vla.embodiment import Axis, Camera, Embodiment
from vla.types import ActionChunk, Observation, Outcome

EMBODIMENT = Embodiment(
    name="point",
    state=(Axis(name="x", unit="m", low=-1, high=1), Axis(name="y", unit="m", low=-1, high=1)),
    action=(
        Axis(name="dx", unit="m", low=-0.2, high=0.2, mode="delta"),
        Axis(name="dy", unit="m", low=-0.2, high=0.2, mode="delta"),
    ),
    cameras={"top": Camera(height=16, width=16)},
    hz=10.0,
)


class PointWorld:
    def __init__(self, task, config):
        self.embodiment = config.embodiment()
        self._task, self._config = task, config
        self.closed = False

    def reset(self, *, seed):
        if seed == self._config.broken_seed:
            raise ValueError(f"scene {seed} has no <solution>")
        if seed == self._config.killer_seed:
            os.kill(os.getpid(), signal.SIGKILL)
        rng = np.random.default_rng(seed)
        self._rng, self._step = rng, 0
        self._point, self._goal = rng.uniform(-1, 1, (2, 2)).astype(np.float32)
        return self._observe()

    def step(self, action):
        time.sleep(self._config.delay_s)
        noise = self._rng.normal(0, 0.005, 2).astype(np.float32)
        self._point = np.clip(self._point + action + noise, -1, 1)
        self._step += 1
        return self._observe()

    def outcome(self):
        near = bool(np.linalg.norm(self._point - self._goal) < 0.1)
        return Outcome(success=near, ended=near, reason="there" if near else "")

    def close(self):
        self.closed = True

    def _observe(self):
        image = np.zeros((1, 16, 16, 3), np.uint8)
        for channel, place in enumerate((self._point, self._goal)):
            row, column = np.round((place + 1) * 7.5).astype(int)
            image[0, row, column, channel] = 255
        return Observation(
            images={"top": image},
            state=np.concatenate([self._point])[None],
            instruction="" if self._config.instruction == "blank" else f"{self._task} the dot",
            time=self._step / 10,
        )


@dataclass(kw_only=True, slots=True)
class PointConfig:
    kind: str = "point"
    instruction: str = "given"
    broken_seed: int = -1
    killer_seed: int = -1
    delay_s: float = 0.0
    hz: float = 10.0

    def embodiment(self):
        fields = {name: getattr(EMBODIMENT, name) for name in ("state", "action", "cameras")}
        return Embodiment(name="point", hz=self.hz, **fields)

    def build(self, task):
        return PointWorld(task, self)


class SeekPolicy:
    """Reads the goal off the picture; when told nothing it stays where it is."""

    embodiment = EMBODIMENT
    history = 1

    def __init__(self):
        self.sizes = []

    def act(self, observations, *, seeds):
        self.sizes.append(len(observations))
        return [self._plan(o, seed) for o, seed in zip(observations, seeds, strict=True)]

    def _plan(self, observation, seed):
        goal = np.argwhere(observation.images["top"][-1, :, :, 1])[0] / 7.5 - 1
        move = np.clip((goal - observation.state[-1]) / 4, -0.2, 0.2)
        move = move + np.random.default_rng(seed).normal(0, 0.05, (4, 2))
        if not observation.instruction:
            move = move * 0
        return ActionChunk(actions=move.astype(np.float32), time=observation.time)
