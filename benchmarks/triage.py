"""Plant one fault at a time between a trained policy and its world; is it what triage names first?

    python benchmarks/triage.py CHECKPOINT STORE [--tasks reach lift] [--size 96] [--rounds 3]

The checkpoint must be trained on STORE, recorded by `vla record` in the tabletop world. Triage is
given the broken policy, the broken world and STORE, nothing else. One JSON line per case: fault,
cause that names it, first three causes named; at the end the counts. Status 1 below 90 %.
"""

import argparse
import json
import os
import sys
import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from configs.bedside import Bedside, find_recorder
from configs.restoring import load_policy
from configs.verbs.triage import read_reference
from envs.config import TabletopConfig
from vla.evaluation.statistics import wilson_interval
from vla.evaluation.triage import diagnose
from vla.runtime.config import ControlConfig
from vla.types import ActionChunk

GRIPPER = -1


class FaultyPolicy:
    """A policy that sees and says things changed."""

    def __init__(self, policy, look=None, turn=None):
        self.embodiment, self.history = policy.embodiment, policy.history
        self._policy, self._look, self._turn = policy, look, turn

    def act(self, observations, *, seeds):
        """See `vla.contract.Policy.act`."""
        if self._look:
            observations = [self._look(o) for o in observations]
        chunks = self._policy.act(observations, seeds=seeds)
        if self._turn is None:
            return chunks
        turned = [self._turn(chunk.actions.copy()).astype(np.float32) for chunk in chunks]
        return [ActionChunk(actions=a, time=c.time) for a, c in zip(turned, chunks, strict=True)]


class FaultyWorld:
    """Passes on everything; actions come late, observations are changed."""

    def __init__(self, world, late=0, look=None):
        self._world, self._late, self._look = world, late, look
        self._first = None

    def __getattr__(self, name):
        return getattr(self._world, name)

    def reset(self, *, seed):
        """See World."""
        observation = self._world.reset(seed=seed)
        self._waiting = deque([self._world.still()] * self._late)
        self._seen = deque([observation])
        return self._show(observation)

    def step(self, action):
        """See World."""
        self._waiting.append(action)
        return self._show(self._world.step(self._waiting.popleft()))

    def _show(self, observation):
        if observation.time == 0.0:
            self._first = observation
        return self._look(observation, self._first) if self._look else observation


def images(change):
    """A look that changes all pictures by name."""
    return lambda o, *_: replace(o, images=change(dict(o.images)))


def each(change):
    """A look that changes every picture alike."""
    return images(lambda seen: {k: np.ascontiguousarray(change(v)) for k, v in seen.items()})


def flip(axis, middle=0.0):
    """A turn that mirrors one axis."""

    def turn(actions):
        actions[:, axis] = 2 * middle - actions[:, axis]
        return actions

    return turn


def shift_state(observation, *_):
    """Joint sensors with another zero and in another unit."""
    return replace(observation, state=(observation.state * 1.7 + 1.5).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is planted, and the cause that names it."""

    name: str
    cause: str
    look: object = None
    turn: object = None
    late: int = 0
    world_look: object = None
    control: ControlConfig = field(default_factory=ControlConfig)
    max_steps: int = 0
    untrained: bool = False

    @property
    def in_policy(self):
        """Whether world and control chain are as they should be."""
        return bool(self.look or self.turn or self.untrained)


SWAP = images(lambda seen: {"front": seen["wrist"], "wrist": seen["front"]})
FAULTS = (
    Fault(name="gripper sign", cause="gripper sign", turn=flip(GRIPPER, 0.5)),
    Fault(name="cameras swapped in the world", cause="camera order", world_look=SWAP),
    Fault(name="pictures BGR", cause="channel order", look=each(lambda x: x[..., ::-1])),
    Fault(name="pictures upside down", cause="upside down",
          world_look=each(lambda x: x[:, ::-1, ::-1])),
    Fault(name="y mirrored", cause="axis sign", turn=flip(1)),
    Fault(name="x and y exchanged", cause="axis order",
          turn=lambda a: a[:, [1, 0, *range(2, a.shape[1])]]),
    Fault(name="stale action statistics", cause="action statistics",
          turn=lambda a: np.concatenate([0.35 * a[:, :6] + 0.004, a[:, 6:]], axis=1)),
    Fault(name="state sensors off", cause="state statistics", world_look=shift_state),
    Fault(name="actions 2 ticks late", cause="late actuation", late=2),
    Fault(name="actions 4 ticks late", cause="late actuation", late=4),
    Fault(name="rate limits", cause="rate limits",
          control=ControlConfig(rate_limits={"dx": 0.01, "dy": 0.01, "dz": 0.01})),
    Fault(name="step limit 12", cause="step limit", max_steps=12),
    Fault(name="words dropped", cause="words ignored",
          look=lambda o, *_: replace(o, instruction="")),
    Fault(name="wrist camera frozen", cause="camera frozen",
          world_look=lambda o, first: replace(
              o, images={**o.images, "wrist": first.images["wrist"]})),
    Fault(name="plans 3 rows late", cause="late plans",
          turn=lambda a: np.concatenate([np.repeat(a[:1] * 0 + a[:1], 3, axis=0), a[:-3]])),
    Fault(name="untrained weights", cause="not trained", untrained=True),
)  # fmt: skip


def spoil(policy):
    """Fresh random weights in a trained policy; its normalizers stay."""
    import torch

    torch.manual_seed(0)
    for module in policy.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return policy


class Ward:
    """All faults on one set of scenes; what the healthy world shows is recorded once."""

    def __init__(self, options: argparse.Namespace, first_seed: int):
        self.options, self.first_seed = options, first_seed
        self.world = TabletopConfig(tasks=options.tasks, image_size=options.size)
        self.reference = read_reference(options.store, options.episodes * len(options.tasks))
        self.record = find_recorder(self.world)
        self.healthy = self.visit(Fault(name="none", cause=""))
        self.healthy.observe_experts()
        self.chain = self.healthy.try_chain()

    def visit(self, fault: Fault) -> Bedside:
        """The world with the fault in it."""
        options = self.options
        return Bedside(
            build=lambda task: FaultyWorld(self.world.build(task), fault.late, fault.world_look),
            record=self.record, tasks=options.tasks, episodes=options.episodes,
            control=fault.control, max_steps=fault.max_steps, first_seed=self.first_seed,
        )  # fmt: skip

    def examine(self, fault: Fault) -> dict:
        """What triage says of one planted fault; it knows policy, world and data only."""
        policy, weights = load_policy(
            self.options.checkpoint, device="cpu", embodiment=self.world.embodiment()
        )
        broken = FaultyPolicy(spoil(policy) if fault.untrained else policy, fault.look, fault.turn)
        bedside, chain = self.visit(fault), self.chain
        if fault.late or fault.world_look:
            bedside.observe_experts()
        else:  # experts see the truth and move as ever
            bedside.live, bedside.tried = self.healthy.live, self.healthy.tried
            bedside.managed = self.healthy.managed
        if not fault.in_policy and fault.cause:
            chain = bedside.try_chain()
        live = [trajectory for _, _, trajectory in bedside.live]
        findings, figures = diagnose(broken, live, chain=chain, reference=self.reference)
        named = [(finding.cause, round(finding.score, 3)) for finding in findings]
        return {
            "fault": fault.name, "expected": fault.cause, "first_seed": self.first_seed,
            "first": (named[0][0] == fault.cause if named else False) if fault.cause else None,
            "named": named[:3], "experts": round(chain.experts, 2), "replayed": chain.replayed,
            "error": round(figures["error"], 3), "weights_sha256": weights,
        }  # fmt: skip


def main() -> None:
    """Plant, diagnose, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("store")
    parser.add_argument("--tasks", nargs="+", default=["reach", "push", "lift", "place"])
    parser.add_argument("--size", type=int, default=96, help="of the pictures, as trained")
    parser.add_argument("--episodes", type=int, default=3, help="demonstrations per task")
    parser.add_argument("--rounds", type=int, default=3, help="each on other scenes")
    parser.add_argument("--first-seed", type=int, default=1_700_000)
    parser.add_argument("--only", default="", help='parts of names, by commas; "": all faults')
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    chosen = [f for f in FAULTS if any(word in f.name for word in options.only.split(","))]
    rows, began = [], time.monotonic()
    for number in range(options.rounds):
        ward = Ward(options, options.first_seed + 1000 * number)
        for fault in [Fault(name="none", cause=""), *chosen]:
            rows.append(ward.examine(fault))
            print(json.dumps(rows[-1]), flush=True)
    result = summarise(rows, options)
    result["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps({key: value for key, value in result.items() if key != "rows"}))
    if options.output:
        Path(options.output).write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(0 if result["named_first"] >= 0.9 * result["planted"] else 1)


def summarise(rows: list[dict], options: argparse.Namespace) -> dict:
    """How often the fault was named first, with the interval, and by fault."""
    planted = [row for row in rows if row["expected"]]
    first = sum(row["first"] for row in planted)
    by_fault = {
        name: f"{sum(row['first'] for row in planted if row['fault'] == name)}/{options.rounds}"
        for name in dict.fromkeys(row["fault"] for row in planted)
    }
    return {
        "planted": len(planted),
        "named_first": first,
        "interval": [round(bound, 3) for bound in wilson_interval(first, len(planted))],
        "among_first_three": sum(
            row["expected"] in [cause for cause, _ in row["named"]] for row in planted
        ),
        "falsely_named": [row["named"] for row in rows if not row["expected"]],
        "by_fault": by_fault,
        "tasks": options.tasks,
        "episodes_per_task": options.episodes,
        "first_seed": options.first_seed,
        "load": round(os.getloadavg()[0], 1),
        "rows": rows,
    }


if __name__ == "__main__":
    main()
