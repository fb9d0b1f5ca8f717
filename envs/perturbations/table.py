"""docs/perturbations.md, written from the registry."""

from pathlib import Path

from envs.perturbations import PERTURBATIONS
from envs.perturbations.perturbation import LEVELS
from vla.files import write_bytes

_INTRO = """\
# Perturbed scenes

`vla eval world=tabletop "evaluation.conditions=[given,light:3]"` tries a policy on the nominal
scenes and on the same scenes with one axis changed, here `light` at level 3. `axes:3` stands for
every axis at level 3, `axes` for every axis at every level. A world alone:
`world.perturbation=light:3`.

The episode of a seed is the nominal one of that seed, except for the axis: two conditions are
pairs, and the report compares them as such (exact McNemar test). What happens depends on axis,
level and seed only. A higher level is the same change, further; where objects must find free places
(`layout`), it is another arrangement, further out. Levels of different axes cannot be compared.
Level 1 is mild, level 5 is meant to hurt.

Scenes stay solvable: scripted experts that see the true state solved 32 of 32 episodes (four tasks,
seeds 3,000,000 to 3,000,007) at levels 1, 3 and 5 of `distractors`, `layout`, `object_swap` and
`start_pose`. Under `dynamics` it was 32, 32, 30, 30 and 20 of 32 at levels 1 to 5: two ticks of
delay make `reach`'s expert overshoot.

Numbers are the greatest change at levels 1 / 2 / 3 / 4 / 5; an octave is a factor of two, up or
down.

| axis | what changes | ranges |
|---|---|---|
"""


def describe_axes() -> str:
    """The page as Markdown."""
    rows = []
    for name, kind in PERTURBATIONS.items():
        ranges = [
            f"{quantity.replace('_', ' ')}: {' / '.join(f'{value:g}' for value in values)}"
            for quantity, values in kind.ranges.items()
        ]
        assert all(len(values) == len(LEVELS) for values in kind.ranges.values())
        rows.append(f"| `{name}` | {kind.changes} | {'<br>'.join(ranges)} |\n")
    return _INTRO + "".join(rows)


def write_page(path: str | Path) -> None:
    """Write the page to `path`, replacing it."""
    write_bytes(Path(path), describe_axes().encode())
