"""How punctual and how safe the live loop is: a checkpoint drives the simulated arm.

    python benchmarks/live_loop.py CHECKPOINT [--seconds 120] [--faults]

With --faults, every 20th command is replaced by NaN, infinity, a jump to the other end of an
axis or a value far outside it, after the controller has shaped it. The plant writes down
every command that reaches it; the flight log must hold every refusal. Ends with one JSON line.
"""

import argparse
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from configs.restoring import load_policy
from envs.config import TabletopConfig
from robot_drivers.config import SimArmConfig
from robot_drivers.robot_world import CAUSES, RobotWorld
from vla.runtime.config import ControlConfig
from vla.runtime.live import run_live
from vla.runtime.record import FlightLog, read_flight
from vla.runtime.unending import UnendingWorld

EVERY = 20


@dataclass
class JournalledPlant:
    """Builds the tabletop plant and notes every command that arrives, one JSON list a line."""

    world: TabletopConfig
    task: str
    journal: str

    def __call__(self):
        """Called in the arm's process."""
        plant = self.world.build(self.task)
        command = plant.command

        def note(action):
            with open(self.journal, "a", encoding="utf-8") as file:
                file.write(json.dumps([float(value) for value in action]) + "\n")
            command(action)

        plant.command = note
        return plant


class FaultyController:
    """Passes a controller's commands on and spoils every `EVERY`-th one."""

    def __init__(self, inner):
        self.inner, self.embodiment, self.ticks, self.spoiled = inner, inner.embodiment, 0, []

    def reset(self, *, seed):
        """See Controller."""
        self.inner.reset(seed=seed)

    def __call__(self, observation):
        """See Controller."""
        action = self.inner(observation).copy()
        self.ticks += 1
        if self.ticks % EVERY == 0:
            kind = self.ticks // EVERY % 4
            axis = self.ticks // EVERY % 6
            limit = self.embodiment.action[axis]
            action[axis] = [np.nan, np.inf, 40 * limit.high, -1e9][kind]
            self.spoiled.append(action.copy())
        return action


def main() -> None:
    """Fly, compare what was wanted with what arrived, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--task", default="lift")
    parser.add_argument("--faults", action="store_true")
    options = parser.parse_args()
    policy, _ = load_policy(
        options.checkpoint, device="cpu", embodiment=TabletopConfig().embodiment()
    )
    world = TabletopConfig(image_size=policy.embodiment.cameras["front"].height)
    folder = Path(tempfile.mkdtemp(prefix="live-loop-"))
    config = SimArmConfig()
    arm = config.build(JournalledPlant(world, options.task, str(folder / "commands")))
    log = FlightLog(folder / "flight.vlalog", embodiment=arm.embodiment, causes=CAUSES)
    gate = config.gate.build(arm.embodiment)
    controller = ControlConfig().build(policy)
    if options.faults:
        controller = FaultyController(controller)
    robot_world = UnendingWorld(RobotWorld(arm, arm, gate=gate, scene=arm, log=log))
    load = os.getloadavg()[0]
    figures = run_live(robot_world, controller, seed=2_000_000, log=log, seconds=options.seconds)
    ticks = read_flight(folder / "flight.vlalog").ticks
    arrived = np.array([json.loads(line) for line in (folder / "commands").open()])
    low = np.array([axis.low for axis in arm.embodiment.action])
    high = np.array([axis.high for axis in arm.embodiment.action])
    legal = (
        np.isfinite(arrived).all() and ((arrived >= low - 1e-6) & (arrived <= high + 1e-6)).all()
    )
    spoiled = controller.spoiled if options.faults else []
    figures |= {
        "commands_arrived": len(arrived),
        "all_legal": bool(legal),
        "spoiled": len(spoiled),
        "spoiled_in_log": int((ticks["cause"] > 0).sum()),
        "load_before": round(load, 2),
        "cores": os.cpu_count(),
    }
    console = Console()
    console.print(f"flight log and commands: {folder}")
    console.print_json(json.dumps(figures))
    print(json.dumps(figures))
    if not legal or len(spoiled) != figures["spoiled_in_log"]:
        raise SystemExit("an illegal command arrived, or a refusal is missing in the log")


if __name__ == "__main__":
    main()
