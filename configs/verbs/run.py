"""`vla run`: a checkpoint drives an arm in real time, through the safety gate."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from configs.flight_table import summarise, tabulate
from configs.restoring import load_policy
from configs.run_job import RunJob
from robot_drivers.causes import CAUSES, Cause
from robot_drivers.config import RobotConfig, SimArmConfig
from robot_drivers.creeping import CreepingWorld
from robot_drivers.device import Pilot, Scene
from robot_drivers.homing import ReturningWorld
from robot_drivers.link import BridgedRobot, DelayedCameras
from robot_drivers.operator_line import OperatorLine
from robot_drivers.replay import motion_limits
from robot_drivers.robot_world import RobotWorld
from robot_drivers.stops import open_stops
from vla.contract import Controller
from vla.embodiment import Embodiment
from vla.errors import ConfigError, RobotError
from vla.files import write_json
from vla.runtime.config import AsyncControlConfig, ControlConfig
from vla.runtime.episode_recorder import EpisodeRecorder, open_recording
from vla.runtime.live import STOPS, run_live
from vla.runtime.planner import warm_up
from vla.runtime.record import FlightLog
from vla.runtime.rollout import Tick
from vla.runtime.streaming import at_rate
from vla.runtime.unending import UnendingWorld

STOPPED = tuple(number.name for number in STOPS)
"""Reasons after which no further episode begins."""


def main(job: RunJob) -> None:
    """Fly `episodes` episodes; write a log of each tick and a summary."""
    output, console = Path(job.output), Console()
    simulated = isinstance(job.robot, SimArmConfig)  # it has the body of its world
    body = job.world.embodiment() if simulated else job.robot.build(None).embodiment
    streamed = at_rate(body, job.control.hz or body.hz) if is_async(job) else body
    if job.record and streamed.hz != body.hz:
        raise ConfigError(
            f"record keeps one row per command; control.hz={streamed.hz} is not the {body.hz} Hz "
            "of the policy. Leave one of the two out."
        )
    flights, logs = [], []
    earlier = len(list(output.glob("flight-*.vlalog")))  # kept: a log is never overwritten
    with open_controller(job, body, streamed) as (controller, weights):
        facts = {"job": asdict(job), "weights_sha256": weights, "policy_body": body.to_json()}
        facts |= tell_quantization(job.checkpoint)
        while len(flights) < job.episodes:
            logs.append(output / f"flight-{earlier + len(logs):03d}.vlalog")
            await_operator(job.robot, console)
            seed = job.seed + len(flights)
            try:
                flight = fly(job, controller, logs[-1], body=streamed, seed=seed, facts=facts)
            except RobotError as error:
                offer_to_resume(error, job.robot, console)  # or raises it
                continue
            flights.append(flight)
            console.print(f"{logs[-1].name}: scheduling {flights[-1]['scheduler']}")
            if flights[-1]["reason"] in STOPPED:
                break
    summary = {**summarise(flights), "logs": [path.name for path in logs]}
    write_json(output / "summary.json", summary)
    console.print(tabulate(flights))
    if job.record:
        console.print(f"Episodes added to {job.record}. Next: vla train data.path={job.record}")
    console.print(f"Flight logs and summary: {output}\nNext: vla replay log={logs[-1]}")


def is_async(job: RunJob) -> bool:
    """Whether plans come from a process of their own."""
    return isinstance(job.control, AsyncControlConfig)


@contextmanager
def open_controller(
    job: RunJob, body: Embodiment, streamed: Embodiment
) -> Iterator[tuple[Controller, str]]:
    """The controller with its policy loaded and warm, and the hash of the weights.

    Where a person drives there are no weights, and the device plans in this process.
    """
    person = job.teleop.build(body)
    if person is not None:
        try:
            person.connect()
            yield job.robot.steady(ControlConfig().build(person)), ""
        finally:
            person.close()
        return
    load = partial(load_policy, job.checkpoint, device=job.device, embodiment=body)
    if not isinstance(job.control, AsyncControlConfig):
        policy, weights = load()
        warm_up(policy)
        yield job.robot.steady(job.control.build(policy)), weights
        return
    limits = motion_limits(job.robot.gate.build(streamed))
    controller = job.control.open(job.faults.wrap(load), body, limits=limits)
    try:
        yield controller, controller.weights
    finally:
        controller.close()


def tell_quantization(path: str) -> dict[str, Any]:
    """For the flight log: how a quantized checkpoint was made and judged; {} for others.

    A run's own folder holds float checkpoints only, so this one file tells; it is read here
    because the process that plans is another one.
    """
    contract = Path(path) / "contract.json"
    if not path or not contract.is_file():
        return {}
    told = json.loads(contract.read_text()).get("quantization")
    keys = ("recipe", "gate", "source_sha256")
    return {"quantization": {key: told[key] for key in keys}} if told else {}


def await_operator(robot: RobotConfig, console: Console) -> None:
    """Nothing moves before somebody at the terminal agrees, also not after a restart.

    Raises:
        RobotError: when there is no terminal, or nobody agrees.
    """
    if robot.confirm == "none":
        return
    if not sys.stdin.isatty():
        raise RobotError(
            "robot.confirm=key needs a terminal, where an operator agrees that the arm may move."
        )
    console.print("Is the space around the arm free, and the hardware stop in reach?")
    if console.input("Type 'move' and Enter to let the arm move: ").strip() != "move":
        raise RobotError("The operator did not agree; nothing was moved.")


def offer_to_resume(error: RobotError, robot: RobotConfig, console: Console) -> None:
    """After a stop or a fault: show it to the operator, who is asked again before a new flight.

    Raises:
        RobotError: `error`, when nobody can be asked.
    """
    if robot.confirm == "none" or not sys.stdin.isatty():
        raise error
    console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
    console.print("The arm holds, torque on. To fly this episode anew, clear the cause first.")


def await_creep(robot: RobotConfig, problems: list[str]) -> None:
    """A second word, for an arm that stands outside its limits. Raises RobotError for a no."""
    console = Console()
    console.print(f"Outside its limits: {'; '.join(problems)}. It would come in slowly.")
    await_operator(robot, console)


def fly(
    job: RunJob,
    controller: Controller,
    path: Path,
    *,
    body: Embodiment,
    seed: int,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """One episode, into job.record as well. Raises RobotError or GateRefusal after halting."""
    robot = job.robot.build(partial(job.world.build, job.task))
    with ExitStack() as stack:
        stack.callback(robot.close)
        store = None
        if job.record:  # before the log and the world: a store that does not fit stops here
            provenance = {"made_by": "vla run", **facts}
            store = open_recording(job.record, robot.embodiment, provenance=provenance)
        log = FlightLog(path, embodiment=body, causes=CAUSES, facts=facts)
        gate = job.robot.gate.build(body)
        cameras = DelayedCameras(robot, job.robot.camera_delay)
        stops = open_stops(job.robot)
        operator = OperatorLine(stops)
        stack.callback(operator.close)
        world = RobotWorld(
            BridgedRobot(robot, losses=job.robot.losses, delay=job.robot.state_delay),
            cameras,
            gate=gate,
            instruction=job.instruction,
            scene=robot if isinstance(robot, Scene) else None,
            log=log,
            pilot=controller if isinstance(controller, Pilot) else None,
            stops=stops,
            operator=operator,
            embodiment=body,
        )
        if job.robot.creep:
            agree = partial(await_creep, job.robot)
            world = CreepingWorld(world, most=job.robot.creep, agree=agree)
        if job.robot.home:
            world = ReturningWorld(world, job.robot.home, seconds=job.robot.home_time)
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
        return run_live(
            world,
            controller,
            seed=seed,
            log=log,
            seconds=job.seconds,
            progress=None if is_async(job) else show_progress(stack, job, path, body),
            brake=partial(gate.latch, Cause.STOP),
            priority=job.control.priority if is_async(job) else 0,
        )


def show_progress(
    stack: ExitStack, job: RunJob, path: Path, body: Embodiment
) -> Callable[[Tick], None]:
    """A bar until `stack` is left. Its thread would cost an asynchronous loop its punctuality."""
    bar = stack.enter_context(Progress(TextColumn("{task.description}"), BarColumn(),
                                       TimeElapsedColumn()))  # fmt: skip
    shown = bar.add_task(f"{job.task} {path.stem}", total=job.seconds * body.hz)

    def advance(tick: Tick) -> None:
        bar.update(shown, completed=tick.index + 1, description=tick.observation.instruction)

    return advance
