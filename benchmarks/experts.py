"""Success of the scripted experts (the ceiling) and of random actions (the floor), per task.

    python benchmarks/experts.py [--tasks a,b] [--seeds 200] [--split all] [--noise 0] [--arm panda]

Without pictures, on seeds from 5,000,000 on; the last line is JSON.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from envs.config import SUITE
from envs.demonstrations import Disturbance
from envs.experts import EXPERTS
from envs.mujoco_world import MujocoWorld
from envs.tasks import load_task
from vla.evaluation.statistics import wilson_interval

FIRST = 5_000_000


class Blind(MujocoWorld):
    """Without pictures, for speed."""

    def observe(self):
        return None


def play(world, seed, *, noise, random):
    """Success and ticks of one episode."""
    world.reset(seed=seed)
    rng = np.random.default_rng([seed, 2])
    disturb = Disturbance(noise, np.random.default_rng([seed, 1]))
    low, high = np.array([(a.low, a.high) for a in world.embodiment.action], np.float32).T
    ticks = 0
    while not world.outcome().ended:
        if random:
            action = rng.uniform(low, high).astype(np.float32)
        else:
            action = EXPERTS[world.task.name](world.scene_state(), world.assignment)
        world.step(np.clip(disturb(action), low, high))
        ticks += 1
    return world.outcome().success, ticks


def measure(name, args):
    world = Blind(load_task(name, args.split), arm=args.arm)
    start = time.process_time()
    seeds = range(FIRST, FIRST + args.seeds)
    won = [play(world, seed, noise=args.noise, random=False) for seed in seeds]
    took = time.process_time() - start
    lucky = [play(world, seed, noise=0.0, random=True)[0] for seed in seeds[: args.random]]
    successes = sum(success for success, _ in won)
    low, high = wilson_interval(successes, len(won))
    return {
        "expert": round(successes / len(won), 4),
        "interval": [round(low, 3), round(high, 3)],
        "median_ticks": int(np.median([ticks for success, ticks in won if success] or [0])),
        "longest": max([ticks for success, ticks in won if success] or [0]),
        "horizon": world.task.horizon,
        "random": round(sum(lucky) / max(1, len(lucky)), 3),
        "cpu_s_per_episode": round(took / len(won), 3),
        "failed": [seed for seed, (success, _) in zip(seeds, won, strict=True) if not success],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", default=",".join(SUITE))
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--random", type=int, default=20, help="episodes of random actions")
    parser.add_argument("--split", default="all")
    parser.add_argument("--arm", default="primitive")
    parser.add_argument("--noise", type=float, default=0.0)
    args = parser.parse_args()
    rows = {}
    for name in args.tasks.split(","):
        rows[name] = measure(name, args)
        print(name, rows[name], flush=True)
    rates = [row["expert"] for row in rows.values()]
    summary = {"seeds": args.seeds, "split": args.split, "arm": args.arm, "noise": args.noise}
    print(json.dumps({**summary, "lowest": min(rates), "mean": np.mean(rates), "tasks": rows}))


if __name__ == "__main__":
    main()
