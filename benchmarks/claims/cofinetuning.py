"""Does co-fine-tuning keep what a policy knew, and does that knowledge steer the robot?

RT-2's mechanism (arXiv 2307.15818, section 4) in miniature. Eight kinds of things, each of one
colour and shape, lie three at a time in a picture of 40 x 40 pixels,
each in a quarter of its own. The robot is asked to
"reach the NOUN" and writes where, as two action words. It is shown demonstrations of six nouns;
the other two lie about in its pictures, too, but only questions about pictures name them
("where is the mug?" "top left").

    scratch   robot data only, from random weights
    robot     robot data only, from the weights that answer questions
    mix       robot data and questions half and half, from the same weights
    shuffled  as mix, but the answers were shuffled among the questions of their kind, both
              before and while the robot's data are learned

Said beforehand: questions: mix loses at most 5 points, robot more than 20. Success on nouns that
only questions name: mix > robot > scratch; mix > shuffled. All arms of a seed see the same robot
samples in the same order; all seeds and arms are tried in the same scenes.

    python benchmarks/claims/cofinetuning.py                  # all seeds
    python benchmarks/claims/cofinetuning.py --quick          # seconds; says nothing
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from named_things import (
    CELL,
    ONLY_ASKED,
    SHOWN,
    SIZE,
    Samples,
    make_demonstrations,
    make_questions,
    shuffle_answers,
    to_metres,
)

from policies.backbones.language_config import SmolvlmConfig
from policies.config import VlaPolicyConfig
from policies.heads.config_language import WordsConfig
from policies.vla_policy import VlaPolicy
from vla.data.batch import Batch
from vla.data.stats import Statistics, VectorStatistics
from vla.embodiment import Axis, Camera, Embodiment
from vla.evaluation.question_accuracy import measure_answers
from vla.evaluation.statistics import wilson_interval
from vla.files import write_json
from vla.types import Observation

BODY = Embodiment(
    name="pointer",
    state=(Axis(name="clock", unit="1", low=0, high=1),),
    action=tuple(Axis(name=name, unit="m", low=-1, high=1) for name in "xy"),
    cameras={"front": Camera(height=SIZE, width=SIZE)},
    hz=1.0,
)
ARMS = ("scratch", "robot", "mix", "shuffled")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything."""

    seeds: tuple[int, ...] = (0, 1, 2)
    asked_steps: int = 1500
    robot_steps: int = 800
    batch: int = 32
    questions: int = 6000
    demonstrations: int = 3000
    episodes: int = 400
    quiz: int = 400
    rate: float = 2e-3


def make_batch(robot: Samples | None, asked: Samples | None, rows: Any) -> Batch:
    """Samples of both parts, the robot's first; `rows` are their numbers in each."""
    parts = [(p, r) for p, r in zip((robot, asked), rows, strict=True) if p is not None]
    pictures = np.concatenate([part.pictures[r] for part, r in parts])
    words = [part.words[i] for part, r in parts for i in r]
    reply = [part.answers[i] if part.answers else "" for part, r in parts for i in r]
    actions, mask = torch.zeros(len(words), 1, 2), torch.zeros(len(words), 1, 2)
    if robot is not None:
        count = len(rows[0])
        assert robot.actions is not None
        actions[:count, 0], mask[:count] = torch.from_numpy(robot.actions[rows[0]]), 1
    return Batch(
        images={"front": torch.from_numpy(pictures[:, None])},
        state=torch.full((len(words), 1, 1), torch.nan),
        instruction=words, actions=actions, mask=mask, labels={}, reply=reply,
    )  # fmt: skip


def build(seed: int, *, plan_words: int = 0) -> VlaPolicy:
    torch.manual_seed(seed)

    def known(axes: tuple[Axis, ...]) -> VectorStatistics:
        low, high = (np.array([getattr(a, key) for a in axes], float) for key in ("low", "high"))
        return VectorStatistics(
            names=tuple(a.name for a in axes), mean=(low + high) / 2, std=(high - low) / 4,
            min=low, max=high, q01=low, q99=high, count=100,
        )  # fmt: skip

    config = VlaPolicyConfig(
        horizon=1,
        backbone=SmolvlmConfig(state="none", image_size=SIZE, bucket=1),
        head=WordsConfig(bins=16),
        plan_words=plan_words,
    )
    told = Statistics(state=known(BODY.state), action=known(BODY.action), source="benchmark")
    return VlaPolicy(config, BODY, told)


def train(policy: VlaPolicy, robot: Samples | None, asked: Samples | None, *, steps: int,
          scale: Scale, seed: int) -> None:  # fmt: skip
    """AdamW with a linear warm-up and cosine; `scale.batch` samples of each part per step."""
    policy.train()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=scale.rate, weight_decay=0.01)

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / 50) * (0.05 + 0.475 * (1 + np.cos(np.pi * step / steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    rngs = [np.random.default_rng([seed, 4]), np.random.default_rng([seed, 5])]  # one per part
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = [
            rng.integers(len(part.words), size=scale.batch) if part else []
            for part, rng in zip((robot, asked), rngs, strict=True)
        ]
        loss, _ = policy.loss(make_batch(robot, asked, rows), generator=generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def quiz(policy: VlaPolicy, questions: Samples) -> dict[str, Any]:
    """Accuracy by kind."""
    policy.eval()
    answers: list[str] = []
    for start in range(0, len(questions.words), 100):
        part = slice(start, start + 100)
        pictures = questions.pictures[part, None]
        answers += policy.answer({"front": pictures}, questions.words[part], words=4)
    assert questions.answers is not None
    assert questions.kinds is not None
    return measure_answers(answers, questions.answers, questions.kinds)


def try_out(policy: VlaPolicy, trials: Samples, truth: list) -> dict[str, list[int]]:
    """Per episode 1 or 0: nearest to the thing asked for, and within half a cell of it."""
    policy.eval()
    near, hit = [], []
    for start in range(0, len(trials.words), 100):
        part = range(start, min(start + 100, len(trials.words)))
        seen = [
            Observation(
                images={"front": trials.pictures[i][None]}, state=np.zeros((1, 1), np.float32),
                instruction=trials.words[i], time=0.0,
            )
            for i in part
        ]  # fmt: skip
        chunks = policy.act(seen, seeds=[0] * len(seen))
        for i, chunk in zip(part, chunks, strict=True):
            scene, index = truth[i]
            gaps = np.linalg.norm(to_metres(scene.spots) - chunk.actions[0], axis=1)
            near.append(int(gaps.argmin() == index))
            hit.append(int(near[-1] and gaps[index] < CELL / SIZE))
    return {"nearest": near, "hit": hit}


def run_seed(seed: int, scale: Scale) -> dict[str, Any]:
    """All arms of one seed."""
    questions, robot = make_questions(scale.questions, seed), None
    robot, _ = make_demonstrations(scale.demonstrations, seed, SHOWN)
    exam = make_questions(scale.quiz, 10_000)
    trials = {
        "shown": make_demonstrations(scale.episodes // 2, 10_001, SHOWN),
        "only_asked": make_demonstrations(scale.episodes, 10_002, ONLY_ASKED),
    }
    wrong = shuffle_answers(questions, seed)
    learnt, out = {}, {}
    for name, part in (("true", questions), ("false", wrong)):
        policy = build(seed)
        train(policy, None, part, steps=scale.asked_steps, scale=scale, seed=seed)
        learnt[name] = {key: value.clone() for key, value in policy.state_dict().items()}
        out[f"before_{name}"] = {"questions": quiz(policy, exam)}
    for arm in ARMS:
        began, policy = time.monotonic(), build(seed)
        if arm != "scratch":
            policy.load_state_dict(learnt["false" if arm == "shuffled" else "true"])
        beside = {"mix": questions, "shuffled": wrong}.get(arm)
        train(policy, robot, beside, steps=scale.robot_steps, scale=scale, seed=seed + 100)
        out[arm] = {
            "questions": quiz(policy, exam),
            "trials": {name: try_out(policy, *them) for name, them in trials.items()},
            "seconds": time.monotonic() - began,
        }
    return out


def compare(first: list[list[int]], second: list[list[int]], resamples: int = 5000) -> dict:
    """Paired difference first - second over seeds x episodes: mean and 95 % interval.

    Seeds and episodes are both resampled, as blocks (crossed bootstrap).
    """
    gaps = np.array(first, float) - np.array(second, float)  # (seeds, episodes)
    rng, means = np.random.default_rng(0), []
    for _ in range(resamples):
        seeds = rng.integers(len(gaps), size=len(gaps))
        episodes = rng.integers(gaps.shape[1], size=gaps.shape[1])
        means.append(gaps[seeds][:, episodes].mean())
    return {"difference": gaps.mean(), "interval": np.quantile(means, [0.025, 0.975]).tolist()}


def sum_up(runs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The table, and the comparisons that were said beforehand."""
    table: dict[str, Any] = {}
    every = list(runs.values())
    for arm in ("before_true", "before_false", *ARMS):
        right = [run[arm]["questions"]["all"]["accuracy"] for run in every]
        table[arm] = {"questions": right}
        for which in ("shown", "only_asked") if arm in ARMS else ():
            for what in ("nearest", "hit"):
                flat = [hit for run in every for hit in run[arm]["trials"][which][what]]
                low, high = wilson_interval(sum(flat), len(flat))
                table[arm][f"{which}_{what}"] = [sum(flat) / len(flat), low, high]
    pairs = [("mix", "robot"), ("robot", "scratch"), ("mix", "scratch"), ("mix", "shuffled")]
    differences = {
        f"{one} - {two}, {what}": compare(
            [run[one]["trials"]["only_asked"][what] for run in every],
            [run[two]["trials"]["only_asked"][what] for run in every],
        )
        for one, two in pairs
        for what in ("nearest", "hit")
    }
    return {"table": table, "only_asked": differences}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="*")
    parser.add_argument("--asked-steps", type=int, default=Scale.asked_steps)
    parser.add_argument("--robot-steps", type=int, default=Scale.robot_steps)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", default="benchmarks/results/claims/cofinetuning.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    scale = Scale(asked_steps=given.asked_steps, robot_steps=given.robot_steps)
    if given.quick:
        scale = Scale(seeds=(0,), asked_steps=3, robot_steps=2, batch=4, questions=50,
                      demonstrations=50, episodes=8, quiz=8)  # fmt: skip
    if given.seeds:
        scale = replace(scale, seeds=tuple(given.seeds))
    output, runs = Path(given.output), {}
    began = time.monotonic()
    for seed in scale.seeds:
        runs[seed] = run_seed(seed, scale)
        result = {
            "claim": __doc__, "scale": vars(scale), "seconds": time.monotonic() - began,
            "runs": {str(key): run for key, run in runs.items()}, **sum_up(runs),
        }  # fmt: skip
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, result)
        print(f"seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    print(json.dumps({key: result[key] for key in ("table", "only_asked")}, indent=1))


if __name__ == "__main__":
    main()
