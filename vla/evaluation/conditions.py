"""Does the policy listen, and does it hold? The same seeds with one thing changed.

Between the given, a blank and a swapped instruction only the words differ: a policy that succeeds
as often without them does not use language, whatever its rate. Under "AXIS:LEVEL" the scene
differs along one axis of the world's (see `axes`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vla.errors import UnknownChoice
from vla.evaluation.result import Evaluation
from vla.evaluation.statistics import PairedComparison, compare_paired


@dataclass(frozen=True, kw_only=True, slots=True)
class ConditionEffect:
    """What one change costs.

    Attributes:
        pairs: the reference condition (first) against this one (second).
        language_use: (reference rate - this rate) / reference rate over the pairs: 1 when
            success needs the right words, 0 when words do not matter, negative when the policy
            does better without them; None when the reference never succeeds. Under a
            perturbed scene: the share of success that is lost.
        unlike: pairs whose first pictures differ. When only words were changed it is 0 unless the
            two were run on different machines or worlds, and then the pairing is in doubt.
    """

    pairs: PairedComparison
    language_use: float | None
    unlike: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self.pairs), "language_use": self.language_use, "unlike": self.unlike}


def compare_conditions(
    results: Mapping[str, Evaluation], reference: str = "given"
) -> dict[str, ConditionEffect]:
    """Compare every other condition with `reference` on the episodes both have run.

    "blank" tells whether words matter at all. "swapped" names another object of the same
    scene: success is still judged by the given instruction, so a policy that obeys fails.

    Raises:
        UnknownChoice: when `reference` is not among the results.
        DataError: when two conditions share no episode.
    """
    if reference not in results:
        raise UnknownChoice("reference condition", reference, results)
    effects = {}
    expected = _collect_frames(results[reference])
    for name, result in results.items():
        if name == reference:
            continue
        pairs = compare_paired(results[reference].verdicts, result.verdicts)
        rate = pairs.rates[0]
        frames = _collect_frames(result)
        effects[name] = ConditionEffect(
            pairs=pairs,
            language_use=pairs.difference / rate if rate else None,
            unlike=sum(frames[key] != expected[key] for key in frames.keys() & expected.keys()),
        )
    return effects


def _collect_frames(result: Evaluation) -> dict[tuple[str, int], str]:
    return {(episode.task, episode.seed): episode.first_frame for episode in result.episodes}
