"""A plant without physics: a point that follows its target, and writes down every command."""

import json
import os
from dataclasses import dataclass

import numpy as np

from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ShapeError
from vla.types import Observation, Outcome

HOME = (0.45, 0.0, 0.2)
JOINT = Axis(name="joint1", unit="rad", low=-2, high=2, frame="joint")
GRIP = Axis(name="gripper", unit="1", low=0, high=1, frame="joint")


def point_body(hz=20.0):
    """x, y, z, joint1, gripper measured; dx, dy, dz (m per tick) and gripper commanded."""
    act = [Axis(name=f"d{n}", unit="m", low=-0.025, high=0.025, mode="delta") for n in "xyz"]
    state = [Axis(name=n, unit="m", low=-1, high=1) for n in "xyz"]
    return Embodiment(
        name="point",
        state=(*state, JOINT, GRIP),
        action=(*act, GRIP),
        cameras={"front": Camera(height=8, width=8), "wrist": Camera(height=8, width=8)},
        hz=hz,
        gripper="open_is_one",
    )


@dataclass
class PointPlant:
    """Success when x passes `goal`; commands go to `journal`, one JSON line each."""

    journal: str
    goal: float = 10.0
    joint: float = 0.5
    fail_at: int = 0
    hz: float = 20.0

    def __post_init__(self):
        self.embodiment = point_body(self.hz)
        self.commands, self.seconds = 0, 0.0

    def reset(self, *, seed):
        self.place = np.array(HOME)
        self.target, self.grip, self.seconds = self.place.copy(), 1.0, 0.0
        return self.observe()

    def command(self, action):
        self.commands += 1
        if self.commands == self.fail_at:
            raise ShapeError("the plant was told to fail")
        with open(self.journal, "a") as file:
            file.write(json.dumps([float(v) for v in action]) + "\n")
        self.target = self.target + action[:3]
        self.grip = float(action[3])

    def advance(self, seconds):
        self.seconds += seconds
        step = np.clip(self.target - self.place, -2 * seconds, 2 * seconds)
        self.place = self.place + step

    def measure(self):
        return np.array([*self.place, self.joint, self.grip], np.float32)

    def observe(self):
        image = np.full((1, 8, 8, 3), int(self.seconds * 10) % 256, np.uint8)
        return Observation(
            images={"front": image, "wrist": image},
            state=self.measure()[None],
            instruction="go right",
            time=self.seconds,
        )

    def outcome(self):
        done = bool(self.place[0] > self.goal)
        return Outcome(success=done, ended=done, reason="there" if done else "")

    def close(self):
        with open(self.journal + ".closed", "w") as file:
            file.write(str(os.getpid()))


@dataclass
class PointFactory:
    """Picklable; called in the plant's process."""

    journal: str
    goal: float = 10.0
    joint: float = 0.5
    fail_at: int = 0

    def __call__(self):
        return PointPlant(self.journal, self.goal, self.joint, self.fail_at)


class BrokenFactory:
    """A plant that cannot be built."""

    def __call__(self):
        raise ShapeError("no plant today")


def commands(journal):
    """Every command that the plant received, (N, 4)."""
    try:
        with open(journal) as file:
            return np.array([json.loads(line) for line in file]).reshape(-1, 4)
    except FileNotFoundError:
        return np.zeros((0, 4))
