"""The single judgements of triage, each from measurements to findings."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vla.contract import Policy
from vla.evaluation.findings import LEAST, Chain, Finding
from vla.evaluation.repairs import Float64, list_plan_repairs, list_view_repairs, match_state
from vla.evaluation.symptoms import (
    Windows,
    Yardstick,
    estimate_lag,
    find_shift,
    measure_strangeness,
    reduce_error,
)
from vla.types import Trajectory


def try_repairs(
    policy: Policy, seen: Windows, known: Windows | None, plans: Float64, yardstick: Yardstick
) -> tuple[list[Finding], float]:
    """Every repair that surely brings back a share of the error, and the least error of all.

    A share is of the error on the axes that a repair concerns.
    """
    target, mask = seen.targets(plans.shape[1])
    repairs = [*list_view_repairs(policy.embodiment)]
    repairs += list_plan_repairs(policy.embodiment, plans[mask], target[mask])
    if known is not None:
        ours, theirs = (
            np.stack([o.state[-1] for o in windows.observations]).astype(np.float64)
            for windows in (seen, known)
        )
        repairs.append(match_state(ours, theirs))
    found, least = [], float(yardstick.measure(plans, target, mask).mean())
    for repair in repairs:
        if repair.axes is not None and not yardstick.moves[list(repair.axes)].any():
            continue
        repaired = seen.plan(policy, repair.look) if repair.look else plans
        if repair.turn:
            repaired = repair.turn(repaired)
        before, after = (yardstick.measure(p, target, mask, repair.axes) for p in (plans, repaired))
        finding = _weigh(repair.cause, repair.detail, before, after, seen)
        if finding is not None:
            found.append(finding)
            least = min(least, float(yardstick.measure(repaired, target, mask).mean()))
    rows, early, late = find_shift(plans, target, mask, yardstick)
    if shift := _weigh("late plans", f"by {rows} rows", early, late, seen):
        found.append(shift)
        least = min(least, float(late.mean()))
    return found, least


def _weigh(
    cause: str, detail: str, before: Float64, after: Float64, seen: Windows
) -> Finding | None:
    share, low = reduce_error(before, after, seen.episode)
    if share < LEAST or low <= 0.0:
        return None
    text = (
        f"{detail}: undone, the plans' error falls from {before.mean():.2f} to "
        f"{after.mean():.2f} standard deviations (share {share:.2f}, at least {low:.2f})"
    )
    return Finding(cause=cause, score=share, evidence=text)


def judge_words(
    policy: Policy, seen: Windows, plans: Float64, yardstick: Yardstick, figures: dict[str, Any]
) -> list[Finding]:
    """How far plans change with the words alone, beside how far they change with the pictures."""
    words = [o.instruction for o in seen.observations]
    if len(set(words)) < 2:
        return []
    other = _pair_others(words)
    changed = {
        "words": lambda o, p: replace(o, instruction=p.instruction),
        "pictures": lambda o, p: replace(o, images=p.images),
    }
    by = {}
    for name, change in changed.items():
        swapped = [
            change(o, seen.observations[i]) for o, i in zip(seen.observations, other, strict=True)
        ]
        moved = Windows(swapped, seen.actions, seen.episode).plan(policy)
        by[name] = float(np.minimum(np.abs(moved - plans) / yardstick.scale, 3.0).mean())
    figures["change_with"] = by
    share = by["words"] / max(by["pictures"], 1e-9)
    if share > 0.05:
        return []
    text = (
        f"other words change the plans by {by['words']:.3f} standard deviations, other "
        f"pictures by {by['pictures']:.3f}"
    )
    return [Finding(cause="words ignored", score=0.9 * (1.0 - share / 0.05), evidence=text)]


def _pair_others(words: list[str]) -> list[int]:
    """For each moment another one with other words, going round by half of them first."""
    n = len(words)
    order = [n // 2, *range(n)]
    return [
        next((i + k) % n for k in order if words[(i + k) % n] != words[i]) for i in range(n)
    ]  # fmt: skip


def judge_chain(chain: Chain) -> list[Finding]:
    """Whether demonstrations get through the control chain, and what holds them back."""
    if not chain.replayed:
        text = "the experts fail in every scene"
        return [Finding(cause="world impassable", score=0.6, evidence=text)]
    asis = chain.replayed["as it is"]
    tries = {
        "rate limits": chain.replayed.get("no rate limits", asis),
        "step limit": chain.replayed.get("no step limit", asis),
    }
    found = [
        Finding(
            cause=cause,
            score=0.99 * (rate - asis),
            evidence=f"{100 * asis:.0f} % of replayed demonstrations succeed, "
            f"{100 * rate:.0f} % without the {cause}",
        )
        for cause, rate in tries.items()
        if rate - asis > 0.15
    ]
    best = max(asis, *tries.values())
    if best < 0.7:
        text = f"only {100 * best:.0f} % of demonstrations succeed when replayed"
        found.append(Finding(cause="control chain", score=0.7 * (1.0 - best), evidence=text))
    return found


def judge_timing(
    live: Sequence[Trajectory], reference: Sequence[Trajectory], figures: dict[str, Any]
) -> list[Finding]:
    """Whether the arm follows its commands as promptly as in the training data."""
    if not reference:
        return []  # a slow arm and a smooth expert look alike; only the data tell what is normal
    expected, pairs = estimate_lag(reference)
    lag, _ = estimate_lag(live, pairs)
    figures["lag_ticks"] = {"live": lag, "training": expected}
    late = lag - expected
    if not late >= 1.0:  # NaN, no clear answer, is not late either
        return []
    text = f"motion follows an action after {lag:.0f} ticks, in the training data {expected:.0f}"
    return [Finding(cause="late actuation", score=min(0.9, 0.5 + 0.1 * late), evidence=text)]


def judge_looks(
    seen: Windows, known: Windows, least: float, figures: dict[str, Any]
) -> list[Finding]:
    """Whether the world is another one than the training data's, and the policy minds.

    It can only explain what no repair mends: the score is the share of the error that is above
    that on training data after the best repair (`least`). It has a factor 0.8, since what is
    merely different explains less than a repair that works.
    """
    there = figures["error_on_training_data"]
    share, feature = measure_strangeness(seen, known)
    figures["strangeness"] = {"share": share, "feature": feature}
    excess = (least - there) / max(figures["error"], 1e-9)
    if share < 0.25 or excess < 0.1:
        return []
    text = (
        f"{feature} is outside the training data at {100 * share:.0f} % of the moments; error "
        f"{figures['error']:.2f} here, {least:.2f} mended, {there:.2f} on training data"
    )
    return [Finding(cause="unlike training", score=0.8 * share * excess, evidence=text)]


def judge_training(least: float, figures: dict[str, Any]) -> list[Finding]:
    """Whether plans are no better than the mean action: mended ones, and on the training data too.

    `least` is the error of the best mended plans. Where the world is broken, e.g. late, the states
    that experts are driven into are strange to a good policy; on its own data it is still good.
    """
    share = least / max(figures["error_of_mean_action"], 1e-9)
    text = f"error {least:.2f} standard deviations, that of the mean action is "
    text += f"{figures['error_of_mean_action']:.2f}, of mended plans too"
    if "error_on_training_data" in figures:
        guess = max(figures["error_of_mean_action_on_training_data"], 1e-9)
        share = min(share, figures["error_on_training_data"] / guess)
        text += f"; on training data {figures['error_on_training_data']:.2f} of {guess:.2f}"
    if share < 0.8:
        return []
    return [Finding(cause="not trained", score=min(0.95, 0.5 + 2.0 * (share - 0.8)), evidence=text)]


def judge_drift(findings: Sequence[Finding], chain: Chain) -> list[Finding]:
    """What is left when nothing else explains the failures."""
    if chain.success is None:
        return []
    gap = max(chain.replayed.values(), default=0.0) - chain.success
    strongest = max((finding.score for finding in findings), default=0.0)
    if gap < 0.15 or strongest > 0.5:
        return []
    text = (
        f"replayed demonstrations succeed at {100 * max(chain.replayed.values()):.0f} %, the "
        f"policy at {100 * chain.success:.0f} %"
    )
    return [Finding(cause="drift", score=0.1 * gap, evidence=text)]
