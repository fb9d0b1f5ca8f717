"""Kill a process that writes a store with SIGKILL at random moments, and check the store each time.

    python benchmarks/kill_writing.py [--kills 200] [--seed 0]

The writer appends single episodes and segments of several, compacts, and collects garbage, in
random order, and acknowledges each episode when its append has returned. After each kill: the
store opens, every file has its checksum, the acknowledged episodes are there in order under
their uids, and appending goes on. At the end every episode's content is compared with what
was written. Ends with one JSON line; exit status 1 when anything is missing or differs.
"""

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from vla.data.store import TrajectoryStore
from vla.embodiment import Axis, Camera, Embodiment
from vla.types import Subtask, Trajectory

EMBODIMENT = Embodiment(
    name="toy",
    state=(Axis(name="q", unit="rad", low=-4, high=4),),
    action=(Axis(name="dq", unit="rad", low=-1, high=1, mode="delta"),),
    cameras={"front": Camera(height=16, width=16), "wrist": Camera(height=8, width=8)},
    hz=10,
)
TARGET = 150_000  # bytes of a compacted segment: some forty episodes
SEED_LIMIT = 2**31


def episode(seed: int) -> Trajectory:
    """A function of `seed`, with every optional part."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(1, 6))
    return Trajectory(
        images={
            name: rng.integers(0, 256, (length, c.height, c.width, 3), np.uint8)
            for name, c in EMBODIMENT.cameras.items()
        },
        state=rng.normal(size=(length, 1)).astype(np.float32),
        action=None if seed % 5 == 0 else rng.uniform(-1, 1, (length, 1)).astype(np.float32),
        instruction=str(seed),
        time=np.arange(length) / 10,
        sent=rng.uniform(-1, 1, (length, 1)).astype(np.float32),
        depth={"front": rng.integers(0, 2**16, (length, 4, 4), np.uint16)},
        subtasks=(Subtask(start=0, stop=length, text="all"),),
        source={"seed": seed},
    )


def write_on(path: Path, draw: random.Random, pipe: int) -> None:
    """Write until killed; one line per thing begun, and per episode acknowledged."""

    def say(*words: object) -> None:
        os.write(pipe, (" ".join(map(str, words)) + "\n").encode())

    store = TrajectoryStore.open(path)
    while True:
        what = draw.choices(("append", "segment", "compact", "collect"), (5, 3, 4, 1))[0]
        say("begin", what)
        seeds = [
            draw.randrange(SEED_LIMIT) for _ in range({"append": 1, "segment": 4}.get(what, 0))
        ]
        if what == "append":
            say("done", seeds[0], store.append(episode(seeds[0])))
        elif what == "segment":
            for seed, uid in zip(seeds, store.append_many(map(episode, seeds)), strict=True):
                say("done", seed, uid)
        elif what == "compact":
            store.compact(TARGET)
        else:
            store.collect_garbage(min_age_seconds=0)
        say("end", what)


def kill_once(path: Path, draw: random.Random, pace: float) -> tuple[str, list[tuple[str, str]]]:
    """Fork a writer and kill it: what it was doing, and (seed, uid) of what it acknowledged.

    `pace` is about what an append takes here, in seconds.
    """
    seed, begins, wait = draw.randrange(SEED_LIMIT), draw.randint(1, 8), draw.uniform(0, pace)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write_on(path, random.Random(seed), writer)
        finally:
            os._exit(1)
    os.close(writer)
    said = []
    with os.fdopen(reader) as lines:
        while sum(line[0] == "begin" for line in said) < begins:
            said.append(lines.readline().split() or sys.exit("the writer ended by itself"))
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        said += [line.split() for line in lines.readlines()]
    os.waitpid(child, 0)
    last = [line[1] for line in said if line[0] == "begin"][-1]
    moment = "between" if said[-1][0] == "end" else last
    return moment, [(line[1], line[2]) for line in said if line[0] == "done"]


def check(path: Path, acknowledged: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Stop unless the acknowledged episodes are there; returns (seed, uid) of all that are.

    A killed append may have been committed and not acknowledged: at most one segment's.
    """
    store = TrajectoryStore.open(path)
    store.verify()
    found = [(record.instruction, record.uid) for record in store.records]
    if found[: len(acknowledged)] != acknowledged or len(found) > len(acknowledged) + 4:
        sys.exit(f"{len(acknowledged)} episodes acknowledged, {len(found)} found, or others")
    return found


def compare(path: Path) -> int:
    """How many episodes differ from what was written."""
    store, different = TrajectoryStore.open(path), 0
    for index, record in enumerate(store.records):
        got, wanted = store.episode(index), episode(int(record.instruction))
        pairs = [
            (got.state, wanted.state), (got.sent, wanted.sent), (got.action, wanted.action),
            (got.time, wanted.time), (got.depth["front"], wanted.depth["front"]),
            *((got.images[name], wanted.images[name]) for name in EMBODIMENT.cameras),
        ]  # fmt: skip
        equal = all(np.array_equal(left, right) for left, right in pairs)
        different += not (equal and got.subtasks == wanted.subtasks)
    return different


def main() -> None:
    """Kill, check, repeat; then compare everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # The writers are forked beside zarr's idle thread, which zarr starts anew in a child.
    warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
    draw = random.Random(options.seed)
    path = Path(tempfile.mkdtemp(prefix="kill-writing-")) / "store"
    store = TrajectoryStore.create(path, embodiment=EMBODIMENT, provenance={}, codec="zstd")
    known = [("1", store.append(episode(1)))]  # starts zarr, which the forked writers inherit
    began = time.monotonic()
    known.append(("2", store.append(episode(2))))
    pace = time.monotonic() - began
    moments: Counter[str] = Counter()
    unacknowledged = 0
    for kill in range(1, options.kills + 1):
        moment, new = kill_once(path, draw, pace)
        moments[moment] += 1
        found = check(path, known + new)
        unacknowledged += len(found) - len(known) - len(new)
        known = found
        if kill % 20 == 0:
            print(f"{kill} kills, {len(known)} episodes, {dict(moments)}", flush=True)
    last = TrajectoryStore.open(path)
    known.append(("7", last.append(episode(7))))
    last.compact(TARGET)
    last.collect_garbage(min_age_seconds=0)
    check(path, known)
    different = compare(path)
    print(json.dumps({
        "kills": options.kills, "episodes": len(known), "lost": 0, "different": different,
        "committed_unacknowledged": unacknowledged, "killed_during": dict(moments),
        "segments": len(list((path / "segments").iterdir())),
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        ), 1),
    }))  # fmt: skip
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
