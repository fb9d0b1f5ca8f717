"""What quantization gains and costs on this machine: one checkpoint, every recipe side by side.

    python benchmarks/quantized.py CHECKPOINT --store STORE [--episodes 50] [--recipes int8 ...]

Plans at batch 1 are timed in turns (float32, bfloat16, int8, ...), so that what else the machine
does falls on all of them alike; the figure is the median of CPU time and of wall time. Errors
are of plans on held-out observations, as parts of the normalised range. With --episodes, the
float and the int8 policy try the same scenes (n = episodes x tasks). Ends with one JSON line.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from configs.quantize_job import QuantizeJob
from configs.restoring import load_policy
from configs.verbs.quantize import try_closed_loop
from envs.config import TabletopConfig
from policies.quantize.config import RECIPES
from policies.quantize.gate import action_ranges
from policies.quantize.quantizer import count_bytes, quantize
from vla.data.store import TrajectoryStore
from vla.evaluation.action_error import draw_observations, measure_action_error
from vla.evaluation.config import EvaluationConfig
from vla.evaluation.provenance import describe_host, read_versions


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--store", required=True)
    parser.add_argument("--recipes", nargs="+", default=["bfloat16", "int8", "int4_weights"])
    parser.add_argument("--episodes", type=int, default=0, help="per task; 0: no closed loop")
    parser.add_argument("--tasks", nargs="+", default=["reach", "push", "lift", "place"])
    parser.add_argument("--plans", type=int, default=60, help="timed, per policy")
    parser.add_argument("--judged", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", default="runs/quantized_benchmark")
    return parser.parse_args()


def time_in_turns(policies, observation, plans):
    """Median milliseconds (CPU, wall) per plan of each policy."""
    spent = {name: [] for name in policies}
    for turn in range(plans + 5):
        for name, policy in policies.items():
            wall, cpu = time.perf_counter(), time.process_time()
            policy.act([observation], seeds=[0])
            if turn >= 5:
                spent[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {name: np.median(rows, axis=0) * 1e3 for name, rows in spent.items()}


def main():
    arguments = read_arguments()
    torch.set_num_threads(arguments.threads)
    store = TrajectoryStore.open(arguments.store)

    def load():
        return load_policy(arguments.checkpoint, device="cpu", embodiment=store.embodiment)

    (reference, weights), policies = load(), {}
    seen, unseen = (
        draw_observations(store, store.split(part), count, history=reference.history)
        for part, count in (("train", 32), ("held_out", arguments.judged))
    )
    policies["float32"], result = reference, {}
    for kind in arguments.recipes:
        policies[kind] = load()[0]
        layers = quantize(policies[kind], RECIPES[kind](), seen)
        error = measure_action_error(
            policies[kind], reference, unseen, ranges=action_ranges(reference)
        )
        result[kind] = {
            "worst_layer": max(layer.error or 0 for layer in layers),
            "action_mean": error.mean,
            "action_p99": error.p99,
            "action_worst": error.worst,
        }
    times = time_in_turns(policies, unseen[0], arguments.plans)
    for name, policy in policies.items():
        cpu, wall = times[name]
        result.setdefault(name, {}).update(
            cpu_ms=cpu, wall_ms=wall, megabytes=count_bytes(policy) / 1e6
        )
        print(name, json.dumps(result[name]))
    told = {"parameters": sum(p.numel() for p in reference.parameters())}
    if "int8" in result:
        for other in {"float32", "bfloat16"} & result.keys():
            told[f"int8_faster_than_{other}"] = times[other][0] / times["int8"][0]
    if arguments.episodes:
        job = QuantizeJob(
            checkpoint=arguments.checkpoint,
            recipe=RECIPES["int8"](),
            store=arguments.store,
            world=TabletopConfig(tasks=arguments.tasks),
            evaluation=EvaluationConfig(
                episodes=arguments.episodes, videos=0, inference_threads=arguments.threads
            ),
            output=str(Path(arguments.output) / "int8"),
        )
        loop = try_closed_loop(
            job, {"reference": reference, "candidate": policies["int8"]}, weights
        )
        told["closed_loop"] = loop.to_json()
    told |= {"policies": result, "host": describe_host(), "versions": read_versions()}
    print(json.dumps(told, default=float))


if __name__ == "__main__":
    main()
