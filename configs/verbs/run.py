"""`vla run`: a checkpoint drives an arm in real time, through the safety gate."""

from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from configs.restoring import load_policy
from configs.schemas import RunJob
from robot_drivers.config import SimArmConfig
from robot_drivers.robot_world import CAUSES, RobotWorld, Scene
from vla.contract import Policy
from vla.evaluation.statistics import wilson_interval
from vla.files import write_json
from vla.runtime.episode_recorder import EpisodeRecorder, open_recording
from vla.runtime.live import run_live
from vla.runtime.record import FlightLog
from vla.runtime.rollout import Tick
from vla.runtime.unending import UnendingWorld
from vla.types import Observation

WARM_UP = 3
"""Plans made before the clock matters: the first ones of a process are slow."""


def main(job: RunJob) -> None:
    """Fly `episodes` episodes; write a log of each tick and a summary."""
    output, console = Path(job.output), Console()
    simulated = isinstance(job.robot, SimArmConfig)  # it has the body of its world
    body = job.world.embodiment() if simulated else job.robot.build(None).embodiment
    policy, weights = load_policy(job.checkpoint, device=job.device, embodiment=body)
    facts = {"job": asdict(job), "weights_sha256": weights}
    warm_up(policy)
    flights, logs = [], []
    earlier = len(list(output.glob("flight-*.vlalog")))  # kept: a log is never overwritten
    for number in range(job.episodes):
        logs.append(output / f"flight-{earlier + number:03d}.vlalog")
        flights.append(fly(job, policy, logs[-1], seed=job.seed + number, facts=facts))
    summary = {**summarise(flights), "logs": [path.name for path in logs]}
    write_json(output / "summary.json", summary)
    console.print(tabulate(flights))
    if job.record:
        console.print(f"Episodes added to {job.record}. Next: vla train data.path={job.record}")
    console.print(f"Flight logs and summary: {output}\nNext: vla report runs={output.parent}")


def fly(
    job: RunJob, policy: Policy, path: Path, *, seed: int, facts: dict[str, Any]
) -> dict[str, Any]:
    """One episode, into job.record as well. Raises RobotError or GateRefusal after halting."""
    robot = job.robot.build(partial(job.world.build, job.task))
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        stack.callback(robot.close)
        store = None
        if job.record:  # before the log and the world: a store that does not fit stops here
            provenance = {"made_by": "vla run", **facts}
            store = open_recording(job.record, robot.embodiment, provenance=provenance)
        log = FlightLog(path, embodiment=robot.embodiment, causes=CAUSES, facts=facts)
        world = RobotWorld(
            robot,
            robot,
            gate=job.robot.gate.build(robot.embodiment),
            instruction=job.instruction,
            scene=robot if isinstance(robot, Scene) else None,
            log=log,
        )
        if store is not None:
            recorder = EpisodeRecorder(
                world,
                store,
                log=log,
                judged=isinstance(robot, Scene),
                source={"run": path.parent.name, "weights_sha256": facts["weights_sha256"]},
            )
            world = stack.enter_context(recorder)
        if job.until == "time":
            world = UnendingWorld(world)
        bar = stack.enter_context(Progress(*columns))
        shown = bar.add_task(f"{job.task} {path.stem}", total=job.seconds * robot.embodiment.hz)

        def advance(tick: Tick) -> None:
            bar.update(shown, completed=tick.index + 1, description=tick.observation.instruction)

        return run_live(
            world,
            job.control.build(policy),
            seed=seed,
            log=log,
            seconds=job.seconds,
            progress=advance,
        )


def warm_up(policy: Policy) -> int:
    """Plan on blank pictures, so that the first real plan does not pay for lazy set-up.

    Returns:
        The rows H of the plans.
    """
    body = policy.embodiment
    blank = Observation(
        images={
            name: np.zeros((policy.history, camera.height, camera.width, 3), np.uint8)
            for name, camera in body.cameras.items()
        },
        state=np.zeros((policy.history, len(body.state)), np.float32),
        instruction="",
        time=0.0,
    )
    plans = [policy.act([blank], seeds=[0]) for _ in range(WARM_UP)]
    return len(plans[-1][0].actions)


def summarise(flights: list[dict[str, Any]]) -> dict[str, Any]:
    """Successes with their interval, the timing over all flights, and each flight."""
    successes = sum(flight["success"] for flight in flights)
    seconds = sum(flight["seconds"] for flight in flights)
    low, high = wilson_interval(successes, len(flights))
    return {
        "n": len(flights),
        "successes": successes,
        "low": low,
        "high": high,
        "seconds": round(seconds, 2),
        "rate_hz": sum(f["rate_hz"] * f["seconds"] for f in flights) / seconds if seconds else 0.0,
        "lateness_ms": {
            key: max((f["lateness_ms"].get(key, 0.0) for f in flights), default=0.0)
            for key in ("p50", "p99", "max")
        },
        "missed": sum(flight["missed"] for flight in flights),
        "refused": sum(sum(flight["refusals"].values()) for flight in flights),
        "flights": flights,
    }


def tabulate(flights: list[dict[str, Any]]) -> Table:
    """One row per flight."""
    table = Table(title="live control", title_justify="left")
    heads = ("flight", "ended by", "success", "ticks", "rate", "late p99", "missed", "refused")
    for head in heads:
        table.add_column(head)
    for number, flight in enumerate(flights):
        table.add_row(
            str(number),
            flight["reason"],
            "yes" if flight["success"] else "no",
            str(flight["ticks"]),
            f"{flight['rate_hz']:.3f} Hz",
            f"{flight['lateness_ms'].get('p99', 0.0):.2f} ms",
            str(flight["missed"]),
            str(sum(flight["refusals"].values())),
        )
    return table
