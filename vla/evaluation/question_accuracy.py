"""How many questions about pictures are answered exactly, by kind."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from vla.evaluation.statistics import wilson_interval


def measure_answers(
    answers: Sequence[str], truth: Sequence[str], kinds: Sequence[str]
) -> dict[str, Any]:
    """Exact matches, upper and lower case, blanks and a final full stop aside.

    Args:
        answers: what was said to n questions.
        truth: what is right.
        kinds: what each asks for; "" counts as "other".

    Returns:
        Per kind and for "all": "n", "right", "accuracy" and its Wilson "interval" (95 %); and
        "majority", the share of the kind's commonest answer, which saying it always would get.
    """
    rows: dict[str, list[tuple[bool, str]]] = defaultdict(list)
    for answer, true, kind in zip(answers, truth, kinds, strict=True):
        row = (normalize(answer) == normalize(true), f"{kind}: {normalize(true)}")
        rows[kind or "other"].append(row)
        rows["all"].append(row)
    return {kind: _sum_up(rows[kind]) for kind in sorted(rows)}


def normalize(text: str) -> str:
    """The words that count."""
    return " ".join(text.lower().strip().removesuffix(".").split())


def _sum_up(rows: list[tuple[bool, str]]) -> dict[str, Any]:
    right, count = sum(hit for hit, _ in rows), len(rows)
    truths = [true for _, true in rows]
    # over all kinds: the commonest answer of each kind
    kinds = {true.split(":")[0] for true in truths}
    common = sum(
        max(truths.count(true) for true in set(truths) if true.split(":")[0] == kind)
        for kind in kinds
    )
    return {
        "n": count,
        "right": right,
        "accuracy": right / count,
        "interval": list(wilson_interval(right, count)),
        "majority": common / count,
    }
