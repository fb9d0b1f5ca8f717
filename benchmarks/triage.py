"""Plant one fault at a time between a trained policy and its world; is it what triage names first?

    python benchmarks/triage.py CHECKPOINT STORE [--tasks reach lift] [--size 64] [--episodes 5]

The checkpoint must be trained on STORE, recorded by `vla record` in the tabletop world. Ends with
one JSON line: per fault the expected cause, the first three named, and the count.
"""

import argparse
import json
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
from vla.errors import DataError
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
    Fault(name="rate limit on z", cause="rate limits",
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


def main() -> None:
    """Plant, diagnose, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("store")
    parser.add_argument("--tasks", nargs="+", default=["reach", "lift"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1_500_000)
    parser.add_argument("--only", default="", help='names of faults, by commas; "": all')
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    world = TabletopConfig(tasks=options.tasks, image_size=options.size)
    record = find_recorder(world)
    reference = read_reference(options.store, options.episodes * len(options.tasks))
    rows, began = [], time.monotonic()
    healthy: dict = {}

    def observe(fault, policy):
        """Demonstrations and replays; those of the healthy world are made once."""
        if fault.in_policy and healthy:
            return healthy["live"], replace(healthy["chain"], success=None)
        bedside = Bedside(
            build=lambda task: FaultyWorld(world.build(task), fault.late, fault.world_look),
            record=record,
            tasks=options.tasks,
            episodes=options.episodes,
            control=fault.control,
            max_steps=fault.max_steps,
            first_seed=options.first_seed,
        )
        live, chain = bedside.observe_experts(), bedside.try_chain(policy)
        if not fault.cause:
            healthy.update(live=live, chain=chain)
        return live, chain

    faults = [Fault(name="none", cause=""), *FAULTS]
    for fault in [
        f for f in faults if not f.cause or any(w in f.name for w in options.only.split(","))
    ]:
        policy, weights = load_policy(
            options.checkpoint, device="cpu", embodiment=world.embodiment()
        )
        if fault.untrained:
            policy = spoil(policy)
        broken = FaultyPolicy(policy, fault.look, fault.turn)
        try:
            live, chain = observe(fault, broken)
        except DataError as error:  # not even the expert: counts as not named
            rows.append({"fault": fault.name, "expected": fault.cause, "first": False,
                         "named": [], "error": str(error)})  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
            continue
        findings, figures = diagnose(broken, live, chain=chain, reference=reference)
        named = [(finding.cause, round(finding.score, 3)) for finding in findings]
        right = named[0][0] == fault.cause if named and fault.cause else None
        rows.append(
            {"fault": fault.name, "expected": fault.cause, "first": right, "named": named[:3],
             "success": chain.success, "replayed": chain.replayed["as it is"],
             "error": round(figures["error"], 3)}
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    planted = [row for row in rows if row["expected"]]
    result = {
        "planted": len(planted),
        "named_first": sum(row["first"] is True for row in planted),
        "among_first_three": sum(
            row["expected"] in [cause for cause, _ in row["named"]] for row in planted
        ),
        "tasks": options.tasks,
        "episodes_per_task": options.episodes,
        "first_seed": options.first_seed,
        "weights_sha256": weights,
        "seconds": round(time.monotonic() - began, 1),
        "rows": rows,
    }
    print(json.dumps(result))
    if options.output:
        Path(options.output).write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(0 if result["named_first"] >= 0.9 * len(planted) else 1)


if __name__ == "__main__":
    main()
