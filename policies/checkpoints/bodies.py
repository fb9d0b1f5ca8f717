"""The bodies that public policies were trained for, by the names of their data sets.

Axes, units, rates and conventions are those of the Open X-Embodiment recipes, by which the same
data are converted here; so a policy and a store of one data set agree by construction.
"""

from vla.data.convert.openx.table import RECIPES
from vla.embodiment import Camera, Embodiment
from vla.errors import ConfigError, EmbodimentMismatch

SIDE = 224
"""Pixels of OpenVLA's and CogACT's pictures."""


def find_body(key: str) -> Embodiment:
    """The body of the data set `key`, with its first camera at 224 x 224.

    Raises:
        ConfigError: when the data set is not known.
    """
    recipe = RECIPES.get(key)
    if recipe is None:
        raise ConfigError(
            f"Nothing here says what the axes of {key!r} mean; give the embodiment as JSON in "
            f"policy.body, or evaluate in a world, which has one. Known: {', '.join(RECIPES)}."
        )
    camera = next(iter(recipe.cameras.values()))
    return Embodiment(
        name=recipe.robot,
        state=tuple(axis for part in recipe.state for axis in part.axes),
        action=tuple(axis for part in recipe.action for axis in part.axes),
        cameras={camera: Camera(height=SIDE, width=SIDE)},
        hz=recipe.hz,
        rotation=recipe.rotation,
        gripper=recipe.gripper,
    )


def require_kin(body: Embodiment, key: str) -> None:
    """Stop when `body` gives the actions of the data set `key` another meaning.

    Names, bounds and cameras may differ; units, modes and conventions may not. Of data sets
    that are not known here nothing can be said.

    Raises:
        EmbodimentMismatch: listing what differs.
    """
    if key not in RECIPES:
        return
    known = find_body(key)
    ours, theirs = ([(axis.unit, axis.mode) for axis in one.action] for one in (body, known))
    lines = []
    if ours != theirs:
        lines.append(f"actions (unit, mode): {theirs} there, {ours} in {body.name!r}")
    for what in ("rotation", "gripper"):
        one, two = getattr(known, what), getattr(body, what)
        if one != two:
            lines.append(f"{what}: {one!r} there, {two!r} in {body.name!r}")
    if lines:
        raise EmbodimentMismatch(
            f"The statistics {key!r} are of {known.name!r}, which {body.name!r} is not:\n  "
            + "\n  ".join(lines)
            + "\nChoose other statistics with policy.key, or a body that moves alike."
        )
