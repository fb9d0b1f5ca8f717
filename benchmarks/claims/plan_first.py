"""Does a plan in words before the action help, when the instruction takes two steps to follow?

RT-2's chain of thought (arXiv 2307.15818, section 4.4) in miniature, in the pictures of
`named_things.py`. "reach what is like a banana" means the one yellow thing; the plan says
"yellow, top left", then two action words say where. Equal networks, samples and steps:

    act        acts at once
    plan       writes the plan and reads it before it acts
    shuffled   as plan, but the demonstrations' plans were shuffled (the control)

The time is that of one plan of one observation; writing costs a pass per word.
"""

import time
from dataclasses import replace

import numpy as np
import torch
from cofinetuning import Scale, build, train
from named_things import (
    CELL,
    COLOURS,
    LOOKS,
    SIZE,
    Samples,
    Scene,
    draw_scene,
    name_place,
    to_metres,
)
from study import Study, compare, judge, pool_rates

from policies.vla_policy import VlaPolicy
from vla.types import Observation

LIKE = {"banana": "yellow", "cherry": "red", "leaf": "green", "sky": "blue"}
WORDS = 12  # of the longest plan
ARMS = ("act", "plan", "shuffled")


def draw(count: int, seed: int) -> tuple[Samples, list[tuple[Scene, int]]]:
    """Scenes in which one colour that is asked for belongs to one thing."""
    rng = np.random.default_rng([seed, 7])
    pictures, words, actions, plans, truth = [], [], [], [], []
    while len(words) < count:
        scene = draw_scene(rng)
        told, colour = list(LIKE.items())[int(rng.integers(len(LIKE)))]
        fitting = [i for i, noun in enumerate(scene.nouns) if LOOKS[noun][0] == colour]
        if len(fitting) != 1:
            continue
        (index,) = fitting
        pictures.append(scene.picture)
        words.append(f"reach what is like a {told}")
        plans.append(f"{colour}, {name_place(scene.spots[index])}")
        actions.append(to_metres(scene.spots[index]))
        truth.append((scene, index))
    assert set(COLOURS) == set(LIKE.values())
    return Samples(np.stack(pictures), words, np.stack(actions), plans), truth


def look(samples: Samples, index: int) -> Observation:
    return Observation(
        images={"front": samples.pictures[index][None]}, state=np.zeros((1, 1), np.float32),
        instruction=samples.words[index], time=0.0,
    )  # fmt: skip


def try_out(policy: VlaPolicy, trials: Samples, truth: list) -> np.ndarray:
    """Per scene: nearest to the thing meant, and within half a cell of it, bool (n,)."""
    policy.eval()
    good = []
    for first in range(0, len(truth), 100):
        part = range(first, min(first + 100, len(truth)))
        chunks = policy.act([look(trials, i) for i in part], seeds=[0] * len(part))
        for i, chunk in zip(part, chunks, strict=True):
            scene, index = truth[i]
            gaps = np.linalg.norm(to_metres(scene.spots) - chunk.actions[0], axis=1)
            good.append(gaps.argmin() == index and gaps[index] < CELL / SIZE)
    return np.array(good)


def measure(policy: VlaPolicy, trials: Samples) -> float:
    """Median milliseconds of one plan."""
    times = []
    for index in range(9):
        began = time.perf_counter()
        policy.act([look(trials, index % len(trials.words))], seeds=[0])
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)[4]


def main() -> None:
    study = Study.begin(
        "plan_first",
        claim="Where an instruction takes two steps, a plan in words before the action lifts "
        "success, and costs time (RT-2's chain of thought, arXiv 2307.15818).",
        rule="plan succeeds more often than act, and more often than shuffled: the 95 % intervals "
        "of the paired differences are above 0.",
    )
    scale = Scale(batch=4 if study.quick else 32)
    sizes = (30, 10, 2) if study.quick else (3000, 300, 900)
    trials, truth = draw(sizes[1], 10_000)
    outcomes, times = [], []
    for seed in study.seeds:
        shown, _ = draw(sizes[0], seed)
        assert shown.answers is not None
        mixed = np.random.default_rng([seed, 8]).permutation(shown.answers).tolist()
        for arm in ARMS:
            policy = build(seed, plan_words=0 if arm == "act" else WORDS)
            answers = {"act": None, "plan": shown.answers, "shuffled": mixed}[arm]
            given = replace(shown, answers=answers)
            train(policy, given, None, steps=sizes[2], scale=scale, seed=seed)
            good = torch.from_numpy(try_out(policy, trials, truth))
            outcomes.append({"arm": arm, "seed": seed, **judge(good)})
            times.append({"arm": arm, "seed": seed, "ms": round(measure(policy, trials), 2)})
    figures: dict = {arm: pool_rates(outcomes, arm=arm) for arm in ARMS}
    for arm in ("act", "plan"):
        figures[f"time_of_{arm}"] = {
            "median_ms": float(np.median([one["ms"] for one in times if one["arm"] == arm]))
        }
    gains = {arm: compare(outcomes, {"arm": "plan"}, {"arm": arm}) for arm in ("act", "shuffled")}
    figures |= {f"plan_more_than_{arm}": gain for arm, gain in gains.items()}
    shown = all(gain["low"] > 0 for gain in gains.values())
    study.conclude(shown=shown, figures=figures, outcomes=outcomes + times)


if __name__ == "__main__":
    main()
