"""How often do intervals hold the truth, and how often is a winner named among equals?

    python benchmarks/interval_coverage.py [--runs 10000] [--output FILE]

Coverage is exact, summed over the binomial distribution on a grid of true rates. The sequential
rule is simulated, looked at after every pair. McNemar's test is compared with statsmodels'. Ends
with one JSON line.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from vla.evaluation.sequential import simulate_sequential
from vla.evaluation.statistics import exact_interval, mcnemar_exact, wilson_interval

RATES = np.linspace(0.0005, 0.9995, 2000)


def cover(interval, n):
    """Mean and least coverage over true rates, where it is least, and the mean width."""
    bounds = np.array([interval(k, n) for k in range(n + 1)])
    chances = binom.pmf(np.arange(n + 1)[:, None], n, RATES)
    held = (chances * ((bounds[:, :1] <= RATES) & (bounds[:, 1:] >= RATES))).sum(0)
    width = (chances * (bounds[:, 1:] - bounds[:, :1])).sum(0)
    return {
        "mean": round(float(held.mean()), 4),
        "least": round(float(held.min()), 4),
        "least_at": round(float(RATES[held.argmin()]), 4),
        "share_below_nominal": round(float((held < 0.95).mean()), 3),
        "mean_width": round(float(width.mean()), 4),
    }


def jeffreys(k, n):
    """Jeffreys' interval, for comparison."""
    return proportion_confint(k, n, method="jeffreys")


def main() -> None:
    """Sum, simulate, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    kinds = {"wilson": wilson_interval, "clopper_pearson": exact_interval, "jeffreys": jeffreys}
    coverage = {
        name: {n: cover(interval, n) for n in (10, 20, 50, 100, 200)}
        for name, interval in kinds.items()
    }
    wrong = {}
    for share in (0.1, 0.3, 0.5, 1.0):
        found = simulate_sequential(share / 2, share / 2, 500, runs=options.runs)
        wrong[share] = round(found.first + found.second, 4)
    worst = max(
        abs(mcnemar_exact(b, c) - mcnemar([[0, b], [c, 0]], exact=True).pvalue)
        for b in range(0, 40, 3)
        for c in range(0, 40, 3)
        if b + c
    )
    result = {
        "nominal": 0.95,
        "coverage": coverage,
        "sequential_false_winners_at_alpha_0.05": wrong,
        "runs": options.runs,
        "mcnemar_largest_difference_to_statsmodels": float(worst),
    }
    print(json.dumps(result))
    if options.output:
        Path(options.output).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
