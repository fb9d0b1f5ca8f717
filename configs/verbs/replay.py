"""`vla replay`: a flight once more, from its log."""

from pathlib import Path
from typing import Any

from rich.console import Console

from configs.replay_job import ReplayJob
from configs.restoring import restore_config
from robot_drivers.replay import replay_flight
from vla.embodiment import Embodiment
from vla.errors import DataError
from vla.runtime.flight_figures import summary
from vla.runtime.plan_log import plan_path, read_plans
from vla.runtime.record import Flight, read_flight


def main(job: ReplayJob) -> None:
    """Compute every command again; exit status 1 when one differs from the log."""
    console, path = Console(), Path(job.log)
    flight = read_flight(path)
    settings = flight.header["facts"].get("job")
    if not settings or "policy_body" not in flight.header["facts"]:
        raise DataError(f"{path} does not say how it was flown; only logs of `vla run` do.")
    control = restore_config("control", settings["control"])
    robot = restore_config("robot", settings["robot"])
    gate = robot.gate.build(flight.embodiment)
    body = Embodiment.from_json(flight.header["facts"]["policy_body"])
    plans = read_plans(plan_path(path))
    result = replay_flight(
        flight, plans, control=control, gate=gate, policy_body=body, steady=robot.steady
    )
    console.print(describe(flight))
    if not result.identical:
        for what in ("wanted", "gated", "causes"):
            if indices := getattr(result, what):
                console.print(f"{what}: {len(indices)} ticks differ, the first is {indices[0]}")
        raise SystemExit(1)
    console.print(f"{result.ticks} ticks computed again: every command and verdict is the same.")


def describe(flight: Flight) -> str:
    """The flight in a few lines: timing, states with their causes."""
    figures: dict[str, Any] = summary(flight)
    late = figures["lateness_ms"]
    lines = [
        f"{figures['ticks']} ticks, {figures['rate_hz']:.3f} Hz, {figures['missed']} missed, "
        f"late p50 {late.get('p50', 0):.2f} p99 {late.get('p99', 0):.2f} max "
        f"{late.get('max', 0):.2f} ms",
        f"states: {figures['states']}  refusals: {figures['refusals']}",
    ]
    lines += [
        f"{c['at']:8.3f} s  {c['from']} to {c['to']}: {c['cause']}" for c in figures["changes"]
    ]
    return "\n".join(lines)
