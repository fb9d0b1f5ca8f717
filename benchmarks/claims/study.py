"""What the claims' scripts share: contexts without a backbone, training, and the result's file.

A rule is written down in the script before it is run; `conclude` stores what came out, also when
the rule was not met. Run a script as `python benchmarks/claims/NAME.py [--quick]`; the quick mode
tries the code and stores nothing unless --output names a folder.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from policies.backbones.interface import Context
from vla.evaluation.statistics import compare_paired, wilson_interval
from vla.files import write_json

RESULTS = Path(__file__).parents[1] / "results" / "claims"


@dataclass(kw_only=True, slots=True)
class Study:
    """One claim under test.

    Attributes:
        name: of the result's file.
        claim: what is said, and by whom.
        rule: when it counts as shown here.
        quick: only try the code.
        seeds: of training.
        folder: where the result goes; None keeps nothing.
    """

    name: str
    claim: str
    rule: str
    quick: bool
    seeds: list[int]
    folder: Path | None
    began: float

    @classmethod
    def begin(cls, name: str, *, claim: str, rule: str) -> "Study":
        """Read the command line."""
        parser = argparse.ArgumentParser(description=f"{claim} Shown when: {rule}")
        parser.add_argument("--quick", action="store_true")
        parser.add_argument("--seeds", type=int, default=3)
        parser.add_argument("--output", type=Path)
        options = parser.parse_args()
        torch.set_num_threads(1)  # the same sums on every machine, and no quarrel over cores
        folder = options.output or (None if options.quick else RESULTS)
        seeds = list(range(1 if options.quick else options.seeds))
        return cls(
            name=name, claim=claim, rule=rule, quick=options.quick, seeds=seeds,
            folder=folder, began=time.monotonic(),
        )  # fmt: skip

    def conclude(self, *, shown: bool, figures: dict[str, Any], outcomes: list[dict]) -> None:
        """Store the verdict, the figures docs quote, and every raw outcome."""
        result = {
            "name": self.name,
            "claim": self.claim,
            "rule": self.rule,
            "shown": bool(shown),
            "figures": figures,
            "seeds": self.seeds,
            "seconds": round(time.monotonic() - self.began, 1),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
            "load": [round(one, 1) for one in os.getloadavg()],
            "outcomes": outcomes,
        }
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / f"{self.name}.json", result)
        print(json.dumps({key: value for key, value in result.items() if key != "outcomes"}))


def rate(successes: int, n: int) -> dict[str, float]:
    """A success rate with its 95 % Wilson interval."""
    low, high = wilson_interval(successes, n)
    return {
        "successes": successes, "n": n, "rate": round(successes / n, 4),
        "low": round(low, 4), "high": round(high, 4),
    }  # fmt: skip


def pool_rates(outcomes: list[dict], **where: Any) -> dict[str, float]:
    """The rate over the outcomes whose fields are as `where` says; each has successes and n."""
    chosen = [one for one in outcomes if all(one[key] == value for key, value in where.items())]
    return rate(*(sum(one[key] for one in chosen) for key in ("successes", "n")))


def judge(good: Tensor) -> dict[str, Any]:
    """Verdicts bool (N,) as an outcome keeps them: how many, of how many, and each one."""
    told = "".join("1" if one else "0" for one in good.tolist())
    return {"n": len(good), "successes": int(good.sum()), "verdicts": told}


def compare(outcomes: list[dict], one: dict[str, Any], two: dict[str, Any]) -> dict[str, float]:
    """Success where the fields are as `one` minus that where they are as `two`, with its 95 %
    interval, paired by seed and trial: both must have met the same scenes.
    """
    first, second = (
        {
            (o["seed"], trial): verdict == "1"
            for o in outcomes
            if all(o[key] == value for key, value in where.items())
            for trial, verdict in enumerate(o["verdicts"])
        }
        for where in (one, two)
    )
    found = compare_paired(first, second)
    return {
        "difference": round(found.difference, 4),
        "low": round(found.low, 4), "high": round(found.high, 4),
    }  # fmt: skip


def wrap(vectors: Tensor) -> Context:
    """Context of one token per sample, for a head without a backbone; vectors (B, D)."""
    mask = torch.ones(len(vectors), 1, dtype=torch.bool)
    return Context(tokens=vectors.unsqueeze(1), mask=mask, pooled=vectors)


def fit(
    parts: nn.Module,
    batches: Iterator[Any],
    loss: Callable[[Any, torch.Generator], Tensor],
    *,
    steps: int,
    rate: float,
    seed: int,
) -> None:
    """AdamW with a cosine to zero and clipped gradients."""
    optimizer = torch.optim.AdamW(parts.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    parts.train()
    for _, batch in zip(range(steps), batches, strict=False):
        optimizer.zero_grad()
        loss(batch, generator).backward()
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    parts.eval()
