"""A clean store: smooth motion, two cameras with moving content, several tasks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vla.data import store_writer
from vla.data.check.inspection import Inspection, inspect_store
from vla.data.store import TrajectoryStore
from vla.embodiment import Axis, Camera, Embodiment
from vla.types import Trajectory

HZ = 20
SIZE = 32
POSE = ("x", "y", "z", "roll", "pitch", "yaw")
UNITS = ("m", "m", "m", "rad", "rad", "rad")
EMBODIMENT = Embodiment(
    name="test_arm",
    state=(
        *(Axis(name=n, unit=u, low=-8, high=8) for n, u in zip(POSE, UNITS, strict=True)),
        Axis(name="gripper", unit="1", low=0, high=1),
    ),
    action=(
        *(
            Axis(name=f"d{n}", unit=u, low=-0.5, high=0.5, mode="delta")
            for n, u in zip(POSE, UNITS, strict=True)
        ),
        Axis(name="gripper", unit="1", low=0, high=1),
    ),
    cameras={
        "front": Camera(height=SIZE, width=SIZE),
        "wrist": Camera(height=SIZE, width=SIZE, mount="hand"),
    },
    hz=HZ,
    rotation="euler_xyz",
    gripper="open_is_one",
)
EPISODES = 7


def clean_episode(seed: int) -> Trajectory:
    """A reach, a grasp and a carry, a function of `seed`."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(36, 60))
    phase = np.linspace(0, 1, length + 1)[:, None]
    start, middle, goal = np.array([0.3, 0, 0.2, 0.1, -0.1, 0]) + rng.normal(0, 0.08, (3, 6))
    bend = np.sin(np.pi * phase) * (middle - (start + goal) / 2)
    pose = start + (goal - start) * (3 * phase**2 - 2 * phase**3) + bend
    pose += np.cumsum(rng.normal(0, 2e-4, pose.shape), axis=0)  # joints shiver, sensors are noisy
    closes = int(length * rng.uniform(0.4, 0.6))
    wanted = np.where(np.arange(length) < closes, 1.0, 0.0)
    grip = np.ones(length)
    for step in range(1, length):  # the fingers follow within a few ticks and stop at the object
        grip[step] = max(
            grip[step - 1] + np.clip(wanted[step - 1] - grip[step - 1], -0.2, 0.2), 0.3
        )
    moves = np.diff(pose, axis=0) / 0.85  # the controller lags: commands are larger
    return Trajectory(
        images={"front": _film(rng, pose[:-1], 0), "wrist": _film(rng, pose[:-1], 1)},
        state=np.column_stack([pose[:-1], grip]).astype(np.float32),
        action=np.column_stack([moves, wanted]).astype(np.float32),
        instruction=("pick the cup", "pick the can")[seed % 2],
        time=np.arange(length) / HZ + rng.normal(0, 5e-4, length).clip(-2e-3, 2e-3),
        success=True,
        source={"seed": seed},
    )


def _film(rng: np.random.Generator, pose: np.ndarray, camera: int) -> np.ndarray:
    """A room that stays, a bright block that follows the arm, sensor noise."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    room = np.stack([150 * columns + 60, 90 + 40 * rows, 180 * rows + 20], axis=-1)
    room[: SIZE // 3, : SIZE // 3] = (210, 60, 40) if camera else (200, 150, 40)
    film = np.repeat(room[None], len(pose), axis=0)
    places = (np.abs(pose[:, camera : camera + 2]) * 40).astype(int) % (SIZE - 8)
    for frame, (row, column) in zip(film, places, strict=True):
        frame[row : row + 8, column : column + 8] = (240, 240, 90)
    return (film + rng.normal(0, 2, film.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def embodiment() -> Embodiment:
    return EMBODIMENT


@pytest.fixture(scope="session")
def clean() -> list[Trajectory]:
    return [clean_episode(seed) for seed in range(EPISODES)]


@pytest.fixture
def write(tmp_path, monkeypatch) -> Callable[[Sequence[Trajectory]], TrajectoryStore]:
    """Write a store as a foreign program might: without admission."""

    def run(episodes: Sequence[Trajectory]) -> TrajectoryStore:
        monkeypatch.setattr(store_writer, "check_trajectory", lambda *_, **__: None)
        path = Path(tmp_path) / "store"
        store = TrajectoryStore.create(path, embodiment=EMBODIMENT, provenance={}, codec="zstd")
        store.append_many(episodes)
        return store

    return run


@pytest.fixture
def check(clean, write) -> Callable[..., Inspection]:
    """Inspect the clean store after `change` of episode `number` (None: of all)."""

    def run(
        change: Callable[[Trajectory], Trajectory] = lambda it: it, number: int | None = 3
    ) -> Inspection:
        episodes = [
            change(episode) if number in (None, index) else episode
            for index, episode in enumerate(clean)
        ]
        return inspect_store(write(episodes))

    return run


def edit(trajectory: Trajectory, **columns) -> Trajectory:
    """The trajectory with columns changed in place: each value is a function of a copy."""
    changed = {}
    for name, change in columns.items():
        values = np.array(getattr(trajectory, name))
        result = change(values)
        changed[name] = (values if result is None else result).astype(values.dtype)
    return replace(trajectory, **changed)


@pytest.fixture
def editing() -> Callable[..., Trajectory]:
    return edit
