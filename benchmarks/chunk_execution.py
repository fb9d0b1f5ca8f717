"""Success against latency for every way to execute chunks, on the tabletop.

    python -m benchmarks.chunk_execution runs/flow-a runs/flow-b --output runs/chunks [--quick]

Give one or more checkpoints of a flow policy, best several training seeds of one recipe. Each
method is flown on the same scenes with the same policy seeds at each latency (constant, plus
`--jitter` ms of exponential tail) on the simulated clock (vla/runtime/latency.py): the
controllers are those of the robot, and the world goes on while the policy "thinks".

Methods that ask for a plan every `--execute` rows: sync (the arm waits), newest (naive async),
crossfade, bidirectional, rtc (guided), rtc_trained. The ensembles plan as often as they can.
A checkpoint trained with policy.head.delay serves both kinds of real-time chunking: for the
guided one its option is switched off while it flies (its network has seen chunks without clean
rows, too); rtc_trained is left out for a checkpoint trained without.

control.stale and max_plan_age are 2 s here: with the 250 ms of the robot every latency above
that would measure the hold, not the method.

Seam jump: Euclidean length of the change of command between the tick before and the tick of a
new plan, in half ranges of the axes, without the gripper; "inside" is the same for the other
ticks. The ensembles have a new plan in nearly every tick, so look at both.
Episodes are appended to OUTPUT/episodes.jsonl; run again to go on after an interruption, or with
more scenes. Ends with a table, OUTPUT/curves.html, OUTPUT/summary.json and one JSON line.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.chunk_curves import Key, draw, summarise, tabulate
from configs.restoring import load_policy
from envs.config import TabletopConfig
from vla.contract import Policy, World
from vla.errors import DataError
from vla.evaluation.config import EVALUATION_SEEDS
from vla.evaluation.provenance import claim_directory, describe_host, read_commit
from vla.files import write_bytes, write_json
from vla.runtime.chunking_blends import half_ranges
from vla.runtime.config import AsyncControlConfig, ControlConfig, LatencyConfig
from vla.runtime.execution_config import EXECUTIONS
from vla.runtime.rollout import rollout

METHODS = ("sync", *EXECUTIONS)
EVERY_TICK = ("ensemble", "adaptive")
STALE = 2.0
MAX_STEPS = 200


def read_options() -> argparse.Namespace:
    """The command line; --quick makes it a matter of a minute or two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--output", type=Path, default=Path("runs/chunk_execution"))
    parser.add_argument("--tasks", nargs="+", default=["reach", "lift"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--latencies", nargs="+", type=float, default=[0, 50, 100, 150, 200, 300],
                        help="milliseconds")  # fmt: skip
    parser.add_argument("--jitter", type=float, default=0.0, help="milliseconds")
    parser.add_argument("--episodes", type=int, default=30, help="scenes per task")
    parser.add_argument("--execute", type=int, default=4, help="rows between two plans")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.tasks, options.latencies, options.episodes = options.tasks[:1], [0, 200], 2
    return options


def control_for(method: str, latency: float, options: argparse.Namespace) -> ControlConfig:
    """The controller of a method at a latency in milliseconds."""
    late = LatencyConfig(seconds=latency / 1000, jitter=options.jitter / 1000)
    if method == "sync":
        return ControlConfig(execute=options.execute, latency=late)
    return AsyncControlConfig(
        execute=1 if method in EVERY_TICK else options.execute,
        execution=EXECUTIONS[method](),
        latency=late,
        stale=STALE,
        max_plan_age=STALE,
    )


@contextmanager
def guided(policy: Policy, method: str) -> Iterator[bool]:
    """Whether a policy can fly a method; meanwhile a guided head forgets that it was trained."""
    head = getattr(getattr(policy, "head", None), "config", None)
    delay = getattr(head, "delay", 0)
    if method == "rtc_trained":
        yield delay > 0
    elif method == "rtc" and delay:
        head.delay = 0
        try:
            yield True
        finally:
            head.delay = delay
    else:
        yield True


def fly(
    policy: Policy, world: World, control: ControlConfig, *, seed: int, limit: int
) -> dict[str, Any]:
    """One episode: outcome, seams, holds."""
    controller = control.build(policy)
    half = half_ranges(policy.embodiment)
    arm = np.array(["grip" not in axis.name for axis in policy.embodiment.action])
    actions, plans, holds, outcome = [], [], 0, None
    for tick in rollout(world, controller, seed=seed, max_steps=limit):
        actions.append(tick.action / half)
        plans.append(controller.chunk_index)
        holds += bool(getattr(controller, "holding", False))
        outcome = tick.outcome
    steps = np.linalg.norm(np.diff(np.array(actions), axis=0)[:, arm], axis=1)
    number = np.array(plans)
    seam = (number[1:] != number[:-1]) & (number[:-1] >= 0)
    inside = steps[~seam]
    return {
        "success": bool(outcome is not None and outcome.success),
        "steps": len(actions),
        "held": holds,
        "plans": int(number[-1]) + 1,
        "seams": int(seam.sum()),
        "jump_sum": round(float(steps[seam].sum()), 5),
        "inside": len(inside),
        "inside_sum": round(float(inside.sum()), 5),
    }


def read_journal(path: Path) -> dict[Key, dict[str, Any]]:
    """Episodes flown so far; a line cut off by a kill is dropped. Raises DataError on others."""
    if not path.exists():
        return {}
    lines = path.read_bytes().split(b"\n")
    if lines[-1]:
        write_bytes(path, b"".join(line + b"\n" for line in lines[:-1]))
    episodes = {}
    for number, line in enumerate(lines[:-1], start=1):
        try:
            entry = json.loads(line)
            episodes[tuple(entry.pop("key"))] = entry
        except (ValueError, KeyError) as error:
            raise DataError(
                f"{path}, line {number} is no episode; move the folder away."
            ) from error
    return episodes


def fly_all(options: argparse.Namespace, console: Console) -> dict[Key, dict[str, Any]]:
    """Every cell that is asked for, from the journal where it is there already."""
    world_config = TabletopConfig(tasks=options.tasks)
    journal, wanted = options.output / "episodes.jsonl", []
    worlds = {task: world_config.build(task) for task in options.tasks}
    seeds = range(EVALUATION_SEEDS, EVALUATION_SEEDS + options.episodes)
    done: dict[Key, dict[str, Any]] = {}
    for path in options.checkpoints:
        policy, weights = load_policy(path, device="cpu", embodiment=world_config.embodiment())
        claim_directory(options.output, {
            "embodiment": policy.embodiment.hash, "execute": options.execute,
            "jitter": options.jitter, "stale": STALE, "max_steps": MAX_STEPS,
        })  # fmt: skip
        done |= read_journal(journal)
        for method in options.methods:
            with guided(policy, method) as able, journal.open("a") as file:
                if not able:
                    console.print(f"{path} was trained without policy.head.delay: no {method}")
                    continue
                cells = [
                    (weights, method, float(latency), task, seed)
                    for latency in options.latencies for task in options.tasks for seed in seeds
                ]  # fmt: skip
                wanted += cells
                missing = [cell for cell in cells if cell not in done]
                for cell in track(missing, f"{Path(path).name} {method}", console=console):
                    control = control_for(method, cell[2], options)
                    done[cell] = fly(policy, worlds[cell[3]], control, seed=cell[4],
                                     limit=MAX_STEPS)  # fmt: skip
                    file.write(json.dumps({"key": cell, **done[cell]}) + "\n")
                    file.flush()
    for world in worlds.values():
        world.close()
    return {cell: done[cell] for cell in wanted}


def main() -> None:
    """Fly what is missing, then say what came out."""
    options, console = read_options(), Console()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = summarise(fly_all(options, console))
    told = {name: str(v) if isinstance(v, Path) else v for name, v in vars(options).items()}
    summary = {
        "benchmark": "chunk_execution", "options": told, "host": describe_host(),
        "commit": read_commit(), "rows": rows,
    }  # fmt: skip
    write_json(options.output / "summary.json", summary)
    write_bytes(options.output / "curves.html", draw(rows).encode())
    console.print(tabulate(rows))
    console.print(f"Curves: {options.output / 'curves.html'}")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
