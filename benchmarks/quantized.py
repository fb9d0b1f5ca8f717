"""What quantization gains and costs on this machine: one checkpoint, every way side by side.

    python benchmarks/quantized.py CHECKPOINT --store STORE [--episodes 50] [--ways int8 ...]

Ways: "float32" and "bfloat16" (its linear layers' weights and inputs) are plain eager torch;
"int8", "int4_weights" etc. are recipes in torch; "openvino" is int8 and "openvino_float32" float32
in one OpenVINO graph. Plans at batch 1 are timed in turns (float32, bfloat16, int8, ...; each time
the second of two plans, so that all find the caches as in use), and a ratio is the median of the
ratios within a turn: what else the machine does falls on all of them alike. Errors are of plans on
held-out observations, as parts of the normalised range. With --episodes, the float policy and the
way `--judge` try the same scenes (n = episodes x tasks); stopped, that part goes on where it
was. Partial results are printed as they come; ends with one JSON line.
"""

import argparse
import json
import os
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from configs.quantize_job import QuantizeJob
from configs.restoring import load_policy
from configs.verbs.quantize import try_closed_loop
from envs.config import TabletopConfig
from policies.compiled import CompiledPolicy
from policies.quantize.config import RECIPES, Int8Config, RecipeConfig, RuntimeConfig
from policies.quantize.gate import action_ranges
from policies.quantize.quantizer import count_bytes, quantize
from vla.data.store import TrajectoryStore
from vla.evaluation.action_error import draw_observations, measure_action_error
from vla.evaluation.config import EvaluationConfig
from vla.evaluation.provenance import describe_host, read_versions
from vla.files import write_json

PEERS = ("float32", "bfloat16")
OPENVINO = RuntimeConfig(engine="openvino")


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--store", required=True)
    parser.add_argument(
        "--ways", nargs="+", default=["bfloat16", "int8", "openvino_float32", "openvino"]
    )
    parser.add_argument("--judge", default="openvino", help="the way that is tried in closed loop")
    parser.add_argument("--episodes", type=int, default=0, help="per task; 0: no closed loop")
    parser.add_argument("--tasks", nargs="+", default=["reach", "push", "lift", "place"])
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--judged", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", default="runs/quantized_benchmark")
    return parser.parse_args()


def make_recipe(way):
    """What `vla quantize` would be told."""
    if way == "openvino_float32":
        return RecipeConfig(runtime=OPENVINO)
    return Int8Config(runtime=OPENVINO) if way == "openvino" else RECIPES[way]()


def time_in_turns(policies, observation, turns):
    """(turns, 2) milliseconds of CPU and of wall per plan, by policy."""
    spent = {name: [] for name in policies}
    for turn in range(turns + 2):
        for name, policy in policies.items():
            policy.act([observation], seeds=[0])
            wall, cpu = time.perf_counter(), time.process_time()
            policy.act([observation], seeds=[0])
            if turn >= 2:
                spent[name].append((time.process_time() - cpu, time.perf_counter() - wall))
        if turn % 20 == 19:
            told = {name: f"{np.median(rows, axis=0)[1] * 1e3:.1f}" for name, rows in spent.items()}
            print(f"turn {turn + 1}: wall ms {told}", flush=True)
    return {name: np.array(rows) * 1e3 for name, rows in spent.items()}


def compare_times(times):
    """Medians, and how many times as fast as each peer, turn by turn."""
    found = {}
    for name, rows in times.items():
        (cpu, wall), tail = np.median(rows, axis=0), np.quantile(rows[:, 1], 0.99)
        found[name] = {"cpu_ms": cpu, "wall_ms": wall, "wall_p99_ms": tail}
        for peer in PEERS:
            if peer in times and peer != name:
                cpu, wall = np.median(times[peer] / rows, axis=0)
                found[name][f"faster_than_{peer}"] = {"cpu": cpu, "wall": wall}
    return found


def main():
    arguments = read_arguments()
    output = Path(arguments.output)
    torch.set_num_threads(arguments.threads)
    store = TrajectoryStore.open(arguments.store)

    def load():
        return load_policy(arguments.checkpoint, device="cpu", embodiment=store.embodiment)

    (reference, weights), result = load(), {}
    told = {
        "checkpoint": arguments.checkpoint,
        "weights_sha256": weights,
        "parameters": sum(p.numel() for p in reference.parameters()),
        "threads": arguments.threads,
        "load_before": os.getloadavg(),
        "host": describe_host(),
        "versions": read_versions() | {"openvino": version("openvino")},
    }
    seen, unseen = (
        draw_observations(store, store.split(part), count, history=reference.history)
        for part, count in (("train", 32), ("held_out", arguments.judged))
    )
    ranges, policies = action_ranges(reference), {"float32": reference}
    for way in arguments.ways:
        policy, recipe = load()[0], make_recipe(way)
        worst = max((layer.error or 0.0 for layer in quantize(policy, recipe, seen)), default=0.0)
        policies[way], begun = policy, time.perf_counter()
        if recipe.runtime != RuntimeConfig():
            policies[way] = CompiledPolicy(policy, recipe.runtime)
        ready = time.perf_counter() - begun
        error = measure_action_error(policies[way], reference, unseen, ranges=ranges)
        result[way] = {
            "ready_s": ready,
            "megabytes": count_bytes(policy) / 1e6,
            "worst_layer": worst,
            "action_mean": error.mean,
            "action_p99": error.p99,
            "action_worst": error.worst,
        }
        print(way, json.dumps(result[way]), flush=True)
    result["float32"] = {"megabytes": count_bytes(reference) / 1e6}
    for name, row in compare_times(time_in_turns(policies, unseen[0], arguments.turns)).items():
        result[name] |= row
        print(name, json.dumps(row), flush=True)
    told |= {"ways": result, "load_after": os.getloadavg()}
    write_json(output / "timed.json", told)
    if arguments.episodes:
        told["closed_loop"] = try_scenes(arguments, policies, weights)
    write_json(output / "result.json", told)
    print(json.dumps(told, default=float))


def try_scenes(arguments, policies, weights):
    """Paired success of the float policy and of the judged way."""
    job = QuantizeJob(
        checkpoint=arguments.checkpoint,
        recipe=make_recipe(arguments.judge),
        store=arguments.store,
        world=TabletopConfig(tasks=arguments.tasks),
        evaluation=EvaluationConfig(
            episodes=arguments.episodes, videos=0, inference_threads=arguments.threads
        ),
        output=str(Path(arguments.output) / arguments.judge),
    )
    # the codes follow from the weights and the recipe, whose calibration is fixed here
    pair = {
        "reference": (policies["float32"], weights),
        "candidate": (policies[arguments.judge], f"{weights[:12]}-{arguments.judge}"),
    }
    loop = try_closed_loop(job, pair)
    print(loop.sentence, flush=True)
    return loop.to_json()


if __name__ == "__main__":
    main()
