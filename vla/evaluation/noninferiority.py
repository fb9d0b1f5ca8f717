"""Whether a cheaper policy is as good as its reference, within a stated margin.

Not to find a difference proves nothing: few episodes never find one. Here the burden is the
other way round. The candidate passes only when the interval of its loss, on the very same
scenes, lies below the margin (CONSORT for non-inferiority trials: Piaggio et al., JAMA 308,
2012, 2594-2604); few episodes fail it.
"""

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vla.errors import ConfigError, DataError
from vla.evaluation.statistics import PairedComparison, compare_paired


@dataclass(frozen=True, kw_only=True, slots=True)
class NonInferiority:
    """The verdict on a candidate.

    Attributes:
        pairs: candidate first, reference second, with Newcombe's paired interval.
        margin: success rate that may be lost, e.g. 0.05 for five points.
        confidence: two-sided, of the interval; 0.95 tests one-sided at 2.5 %.
    """

    pairs: PairedComparison
    margin: float
    confidence: float

    @property
    def passed(self) -> bool:
        """Whether a loss of `margin` or more is ruled out."""
        return self.pairs.low > -self.margin

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        pairs = self.pairs
        verdict = "not inferior" if self.passed else "not shown to be non-inferior"
        return (
            f"{verdict}: {100 * pairs.rates[0]:.1f} % against {100 * pairs.rates[1]:.1f} % on "
            f"the same {pairs.n} scenes, difference {100 * pairs.difference:+.1f} points "
            f"[{100 * pairs.low:+.1f}, {100 * pairs.high:+.1f}], margin {100 * self.margin:g}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the verdict in words."""
        return {**asdict(self), "passed": self.passed, "sentence": self.sentence}


def judge_noninferiority[Key: Hashable](
    candidate: Mapping[Key, bool],
    reference: Mapping[Key, bool],
    *,
    margin: float = 0.05,
    confidence: float = 0.95,
) -> NonInferiority:
    """Judge results keyed alike, e.g. by (task, seed).

    Raises:
        ConfigError: a margin outside (0, 1).
        DataError: episodes that only one of them has run, which would bias the pairs.
    """
    if not 0 < margin < 1:
        raise ConfigError(f"margin is {margin}; give a part of all episodes, e.g. 0.05.")
    alone = len(candidate.keys() ^ reference.keys())
    if alone:
        raise DataError(
            f"{alone} episodes were run by one of the two only; run both on the same scenes."
        )
    pairs = compare_paired(candidate, reference, confidence)
    return NonInferiority(pairs=pairs, margin=margin, confidence=confidence)
