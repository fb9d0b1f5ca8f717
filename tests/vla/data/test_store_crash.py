"""A writer killed at any moment leaves a store that opens and holds all it acknowledged."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from vla.data.store import TrajectoryStore

WRITER = """
import sys
import numpy as np
from vla.data.store import TrajectoryStore
from vla.types import Trajectory

store = TrajectoryStore.open(sys.argv[1])
number = store.num_episodes
while True:
    value = np.float32(number % 100)
    store.append(Trajectory(
        images={"front": np.full((3, 16, 24, 3), value, np.uint8),
                "wrist": np.full((3, 8, 8, 3), value, np.uint8)},
        state=np.full((3, 3), value), action=np.full((3, 2), 0.5, np.float32),
        instruction=str(number), time=np.arange(3) / 10))
    number += 1
    print(number, flush=True)
"""


def _kill_trial(path, wait: float) -> tuple[int, int]:
    """Write until killed `wait` seconds after the first commit; (acknowledged, found)."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    first = process.stdout.readline()
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait()
    acknowledged = int(rest[-1]) if rest else int(first)
    store = TrajectoryStore.open(path)
    store.verify()
    values = np.arange(store.num_episodes).repeat(3) % 100
    np.testing.assert_array_equal(store.column("state")[:, 0], values)
    assert store.instructions == [str(n) for n in range(store.num_episodes)]
    np.testing.assert_array_equal(
        store.read_frames("wrist", np.arange(store.num_frames))[:, 0, 0, 0], values
    )
    return acknowledged, store.num_episodes


def _run(path, embodiment, trials: int) -> None:
    TrajectoryStore.create(path, embodiment=embodiment, provenance={}, codec="zstd")
    rng = random.Random(0)
    for _ in range(trials):
        acknowledged, found = _kill_trial(path, rng.uniform(0, 0.2))
        assert acknowledged <= found <= acknowledged + 1


def test_killed_writer(tmp_path, embodiment):
    _run(tmp_path / "s", embodiment, trials=2)


@pytest.mark.slow
def test_killed_writer_many_times(tmp_path, embodiment):
    _run(tmp_path / "s", embodiment, trials=10)
