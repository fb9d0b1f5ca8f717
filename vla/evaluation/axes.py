"""How far a policy holds when the scene changes: one axis at a time, at rising levels."""

from collections.abc import Mapping

from vla.evaluation.charts import draw_heat_map
from vla.evaluation.conditions import ConditionEffect, compare_conditions
from vla.evaluation.config import AXIS_LEVELS, is_axis, split_axis
from vla.evaluation.result import Evaluation
from vla.evaluation.sections import make_section
from vla.evaluation.statistics import wilson_interval


def split_conditions(
    evaluations: Mapping[str, Evaluation],
) -> tuple[dict[str, Evaluation], dict[str, Evaluation]]:
    """The conditions of words, and those of the form "AXIS:LEVEL"."""
    words = {name: result for name, result in evaluations.items() if not is_axis(name)}
    axes = {name: result for name, result in evaluations.items() if is_axis(name)}
    return words, axes


def show_axes(evaluations: Mapping[str, Evaluation], reference: str) -> str:
    """A heat map of success over axis and level, with what was lost against `reference`."""
    _, perturbed = split_conditions(evaluations)
    if not perturbed or reference not in evaluations or reference in perturbed:
        return ""
    effects = compare_conditions({reference: evaluations[reference], **perturbed}, reference)
    limit = 0.05 / len(effects)
    rows: dict[str, list[tuple[float, str, str, bool] | None]] = {}
    for name, effect in effects.items():
        axis, level = split_axis(name)
        row = rows.setdefault(axis.replace("_", " "), [None] * len(AXIS_LEVELS))
        row[AXIS_LEVELS.index(level)] = _make_cell(effect, limit)
    nominal = evaluations[reference].pooled
    columns = [f"level {level}" for level in AXIS_LEVELS]
    note = (
        f"Without a change: {100 * nominal.rate:.0f} % [{100 * nominal.low:.0f}–"
        f"{100 * nominal.high:.0f}] of {nominal.n} episodes. Each cell: success on the same tasks "
        "and seeds with only that axis changed, its 95 % Wilson interval, the difference to the "
        "unchanged episodes in points and the exact McNemar p for these pairs. Bold: p below "
        f"0.05 divided by the {len(effects)} comparisons on this map. Level 1 is mild, 5 severe; "
        "levels of different axes cannot be compared."
    )
    return make_section("Does it hold? Perturbed scenes", draw_heat_map(rows, columns), note)


def _make_cell(effect: ConditionEffect, limit: float) -> tuple[float, str, str, bool]:
    pairs = effect.pairs
    rate = pairs.rates[1]
    low, high = wilson_interval(pairs.both + pairs.only_second, pairs.n)
    p_value = "< 0.001" if pairs.p_value < 1e-3 else f"= {pairs.p_value:.2g}"
    points = round(-100 * pairs.difference)
    text = f"{100 * rate:.0f} %"
    detail = f"[{100 * low:.0f}–{100 * high:.0f}] {points:+d}, p {p_value}, n {pairs.n}"
    return rate, text, detail, pairs.p_value < limit
