"""What it costs to bring a picture from a world's process to the policy's: pipe or shared memory?

    python benchmarks/observation_pipe.py [--count 300]

An evaluation's worker sends each observation a policy is asked about through a pipe, pickled. Here
the same observations go through the pipe, and through shared memory with a short message in the
pipe; both sides' processor time per observation, medians of five rounds in turns. Beside them:
what one tick of the tabletop costs with such pictures drawn (quality fast). One JSON line.
"""

import argparse
import json
import os
import statistics
import time
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from vla.evaluation.worker import Ask
from vla.types import Observation

SIZES = (96, 224, 480)
CAMERAS = ("front", "wrist")


def observe(size: int) -> Observation:
    """An observation with two square pictures."""
    rng = np.random.default_rng(size)
    pictures = {name: rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8) for name in CAMERAS}
    state = np.zeros((1, 8), np.float32)
    return Observation(images=pictures, state=state, instruction="lift the cube", time=0.0)


def send(connection, size: int, count: int, memory: str) -> None:
    """The worker's side; its processor seconds are its last message."""
    seen = observe(size)
    shared = SharedMemory(memory) if memory else None
    connection.recv()
    began = time.process_time()
    for _ in range(count):
        if shared is None:
            connection.send(Ask(seen, 0))
        else:
            place = 0
            for picture in seen.images.values():
                flat = np.frombuffer(shared.buf, np.uint8, picture.size, place)
                flat[:] = picture.ravel()
                place += picture.size
                del flat
            connection.send((seen.state, seen.instruction, seen.time, 0))
        connection.recv()
    connection.send(time.process_time() - began)
    if shared is not None:
        shared.close()


def measure(size: int, count: int, *, shared: bool) -> float:
    """Processor milliseconds per observation, both sides together."""
    length = len(CAMERAS) * size * size * 3
    memory = SharedMemory(create=True, size=length) if shared else None
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    worker = context.Process(target=send, args=(theirs, size, count, memory.name if memory else ""))
    worker.start()
    mine.send("go")
    began, total = time.process_time(), 0
    for _ in range(count):
        mine.recv()
        if memory is not None:  # the slot is written again, so the policy needs a copy
            pictures = np.frombuffer(memory.buf, np.uint8, length).copy()
            total += int(pictures[0])
        mine.send(b"")
    spent = time.process_time() - began + mine.recv()
    worker.join()
    if memory is not None:
        memory.close()
        memory.unlink()
    return 1000 * spent / count


def measure_drawing(size: int, count: int) -> float:
    """Processor milliseconds for one tick of the tabletop and its two pictures."""
    from envs.config import TabletopConfig

    world = TabletopConfig(tasks=["lift"], image_size=size).build("lift")
    world.reset(seed=0)
    began = time.process_time()
    for _ in range(count):
        world.step(world.still())
    spent = time.process_time() - began
    world.close()
    return 1000 * spent / count


def main() -> None:
    """Measure every size both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    options = parser.parse_args()
    os.environ.setdefault("MUJOCO_GL", "egl")
    result: dict = {"load": os.getloadavg()[0]}
    for size in SIZES:
        rounds = [
            {shared: measure(size, options.count, shared=shared) for shared in (False, True)}
            for _ in range(5)
        ]
        pipe, memory = (statistics.median(r[s] for r in rounds) for s in (False, True))
        result[f"{size} px x {len(CAMERAS)}"] = {
            "pipe_ms": round(pipe, 3),
            "shared_memory_ms": round(memory, 3),
            "tick_and_draw_ms": round(measure_drawing(size, 20), 2),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
