import shutil
from collections.abc import Callable

import numpy as np
import pytest

from vla.data.store import TrajectoryStore
from vla.embodiment import Axis, Camera, Embodiment
from vla.types import Trajectory

EMBODIMENT = Embodiment(
    name="toy",
    state=tuple(Axis(name=f"q{i}", unit="rad", low=-4, high=4) for i in range(3)),
    action=(
        Axis(name="dx", unit="m", low=-2, high=2, mode="delta"),
        Axis(name="gripper", unit="1", low=0, high=1),
    ),
    cameras={"front": Camera(height=16, width=24), "wrist": Camera(height=8, width=8)},
    hz=10,
)


def trajectory(length: int, seed: int, **changes) -> Trajectory:
    """A smooth episode, a function of (length, seed)."""
    rng = np.random.default_rng([length, seed])

    def film(height: int, width: int) -> np.ndarray:
        coarse = rng.integers(0, 256, (length, height // 8, width // 8, 3), np.uint8)
        return coarse.repeat(8, axis=1).repeat(8, axis=2)

    content = {
        "images": {"front": film(16, 24), "wrist": film(8, 8)},
        "state": rng.normal(size=(length, 3)).astype(np.float32),
        "action": rng.uniform(0, 1, (length, 2)).astype(np.float32),
        "instruction": f"task {seed % 3}",
        "time": np.arange(length) / 10,
        "success": bool(seed % 2),
        "labels": {"target": rng.uniform(-1, 1, (length, 2)).astype(np.float32)},
        "source": {"seed": seed},
    }
    return Trajectory(**{**content, **changes})


@pytest.fixture
def embodiment() -> Embodiment:
    return EMBODIMENT


@pytest.fixture
def make_trajectory() -> Callable[..., Trajectory]:
    return trajectory


@pytest.fixture(scope="session")
def _template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "store"
    made = TrajectoryStore.create(
        path, embodiment=EMBODIMENT, provenance={"by": "test"}, codec="zstd"
    )
    made.append_many(trajectory(length, seed) for seed, length in enumerate((5, 1, 9)))
    made.append(trajectory(4, 3))
    made.append_many([trajectory(7, 4), trajectory(2, 5)])
    return path


@pytest.fixture
def store(tmp_path, _template) -> TrajectoryStore:
    """Six episodes of 1 to 9 steps over three segments, lossless images; the test's own copy."""
    return TrajectoryStore.open(shutil.copytree(_template, tmp_path / "store"))
