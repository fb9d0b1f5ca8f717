"""Write the stored results into docs/systems.md, between their markers.

    python benchmarks/claims/page.py

A test compares the page with the results, so that no number there is typed or goes stale.
"""

import json
import re
from pathlib import Path
from typing import Any

from vla.files import write_bytes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "systems.md"
RESULTS = ROOT / "benchmarks" / "results" / "claims"
BLOCK = re.compile(r"<!-- claim (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def fill(page: str) -> str:
    """The page with every block as its result says; a missing result says so."""
    return BLOCK.sub(lambda found: render(found[1]), page)


def render(name: str) -> str:
    path = RESULTS / f"{name}.json"
    if not path.exists():
        text = f"Not run yet: `python benchmarks/claims/{name}.py`.\n"
    else:
        text = describe(json.loads(path.read_text(encoding="utf-8")))
    return f"<!-- claim {name} -->\n{text}<!-- end -->"


def describe(result: dict[str, Any]) -> str:
    verdict = "Shown" if result["shown"] else "**Not shown**"
    lines = [
        f"{result['claim']} {verdict}; the rule set before: {result['rule']}",
        f"({len(result['seeds'])} training seeds; every outcome is in "
        f"`benchmarks/results/claims/{result['name']}.json`.)",
        "",
        "| | figures |",
        "|---|---|",
        *(f"| {name} | {show(figure)} |" for name, figure in flatten(result["figures"])),
    ]
    return "\n".join(lines) + "\n"


def flatten(figures: dict[str, Any], before: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Figures with their names, nested ones by a path; a figure is a dict of numbers."""
    rows = []
    for name, figure in figures.items():
        full = f"{before}{name}".replace("_", " ")
        if any(isinstance(value, dict) for value in figure.values()):
            rows += flatten(figure, f"{full}, ")
        else:
            rows.append((full, figure))
    return rows


def show(figure: dict[str, Any]) -> str:
    """A rate or a difference with its interval, or names and numbers as they are."""
    if {"difference", "low", "high"} <= figure.keys():
        return f"{figure['difference']:+.2f} [{figure['low']:+.2f}, {figure['high']:+.2f}]"
    if {"rate", "low", "high", "n"} <= figure.keys():
        return (
            f"{figure['successes']}/{figure['n']} = {figure['rate']:.2f} "
            f"[{figure['low']:.2f}, {figure['high']:.2f}]"
        )
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figure.items())


if __name__ == "__main__":
    write_bytes(PAGE, fill(PAGE.read_text(encoding="utf-8")).encode())
