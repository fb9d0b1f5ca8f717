"""Why does it fail? Likely causes, each with its evidence and its remedy, the likeliest first.

Nothing is guessed from the rate. Fresh demonstrations are recorded in the world as deployed. The
policy plans on them with and without each repair (see `repairs`); they are replayed blindly
through the control chain, with and without its limits; their timing and looks are compared with
the training data's. A cause scores the share of the error, or of the replay, that comes back once
it is undone.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.contract import Policy
from vla.evaluation.findings import CAUSES, Chain, Finding
from vla.evaluation.judgements import (
    judge_chain,
    judge_drift,
    judge_looks,
    judge_timing,
    judge_training,
    judge_words,
    try_repairs,
)
from vla.evaluation.repairs import Float64
from vla.evaluation.symptoms import Windows, Yardstick, find_frozen
from vla.types import Trajectory


def diagnose(
    policy: Policy,
    live: Sequence[Trajectory],
    *,
    chain: Chain,
    reference: Sequence[Trajectory] = (),
    each: int = 8,
) -> tuple[list[Finding], dict[str, Any]]:
    """Rank the likely causes.

    Args:
        policy: as deployed.
        live: demonstrations fresh from the world as deployed, without disturbance.
        chain: what they do when replayed.
        reference: episodes of the training data, to tell what is new here; without them some
            causes cannot be told (late actuation, state statistics, unlike training).
        each: moments per demonstration at which the policy plans.

    Returns:
        Findings, the likeliest first (none: nothing was found), and the figures behind them.

    Raises:
        DataError: demonstrations without actions or motion.
    """
    seen = Windows.cut(live, history=policy.history, each=each)
    known = Windows.cut(reference, history=policy.history, each=each) if reference else None
    plans = seen.plan(policy)
    target, mask = seen.targets(plans.shape[1])
    yardstick = Yardstick.of(policy.embodiment, np.concatenate(seen.actions))
    error, guess = compare_with_guess(plans, target, mask, yardstick)
    figures: dict[str, Any] = {
        "error": error,
        "error_of_mean_action": guess,
        "windows": len(plans),
        **asdict(chain),
    }
    if known is not None:
        there = known.plan(policy)
        error, guess = compare_with_guess(there, *known.targets(there.shape[1]), yardstick)
        figures["error_on_training_data"] = error
        figures["error_of_mean_action_on_training_data"] = guess
    findings, least = try_repairs(policy, seen, known, plans, yardstick)
    findings += judge_words(policy, seen, plans, yardstick, figures)
    findings += judge_chain(chain)
    findings += judge_timing(live, reference, figures)
    if frozen := find_frozen(live):
        text = f"{', '.join(frozen)}: first and last picture of every episode are equal"
        findings.append(Finding(cause="camera frozen", score=0.95, evidence=text))
    if known is not None:
        findings += judge_looks(seen, known, least, figures)
    findings += judge_training(least, figures)
    findings += judge_drift(findings, chain)
    ranked = sorted(findings, key=lambda finding: -finding.score)
    best = {finding.cause: finding for finding in reversed(ranked)}  # one of each cause
    named = sorted(best.values(), key=lambda finding: -finding.score)
    return [replace(f, remedy=CAUSES[f.cause]) for f in named], figures


def compare_with_guess(
    plans: Float64, target: Float64, mask: NDArray[np.bool_], yardstick: Yardstick
) -> tuple[float, float]:
    """Mean error of the plans, and of always giving the mean action."""
    mean = np.average(target.reshape(-1, target.shape[-1]), axis=0, weights=mask.reshape(-1))
    guess = yardstick.measure(np.broadcast_to(mean, target.shape), target, mask)
    return float(yardstick.measure(plans, target, mask).mean()), float(guess.mean())
