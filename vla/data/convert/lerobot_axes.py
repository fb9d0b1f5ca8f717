"""What the numbers of a LeRobot data set mean: names from the set, the rest from its user.

LeRobot's metadata names axes but gives no units, bounds or frames, and does not say whether
an action is a position or a step. Nothing of that is guessed.
"""

from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from vla.data.convert.config import AxisRule, LerobotConfig
from vla.data.convert.lerobot_folder import LerobotFolder
from vla.embodiment import Axis
from vla.errors import ConfigError, DataError

FEATURES = {"state": "observation.state", "action": "action"}


@dataclass(frozen=True, slots=True)
class Vector:
    """A state or action vector and where it comes from.

    Attributes:
        key: the column.
        width: numbers in it.
        picked: indices of those that are kept, in order.
        axes: what each kept one means.
    """

    key: str
    width: int
    picked: tuple[int, ...]
    axes: tuple[Axis, ...]


def read_width(folder: LerobotFolder, what: str) -> int:
    """Length of the "state" or "action" vector. Raises DataError."""
    key = FEATURES[what]
    if key not in folder.features:
        raise DataError(
            f"{folder.path} has no feature {key!r}; it has {', '.join(folder.features)}. "
            "Sets without state and action cannot be converted."
        )
    shape = folder.features[key]["shape"]
    if len(shape) != 1:
        raise DataError(f"{folder.path}: {key!r} has shape {shape}; only vectors are read.")
    return int(shape[0])


def declare_vector(folder: LerobotFolder, what: str, options: LerobotConfig) -> Vector:
    """Axes of the "state" or "action" vector.

    Raises:
        DataError: when the set lacks it.
        ConfigError: naming every axis whose unit, mode or frame no option tells.
    """
    width = read_width(folder, what)
    axes, picked, unclear = [], [], []
    for index, name in enumerate(_name_axes(folder, what, width)):
        rule = _find_rule(options.axes, f"{what}.{name}")
        if not rule.keep:
            continue
        unit = rule.unit or options.unit
        frame = rule.frame or options.frame
        # A state is where the body is; only an action can be a step from there.
        mode = "absolute" if what == "state" else rule.mode or options.action_mode
        if not (unit and frame and mode):
            unclear.append(name)
            continue
        picked.append(index)
        axes.append(
            Axis(name=name, unit=unit, low=rule.low, high=rule.high, mode=mode, frame=frame)
        )
    if unclear:
        raise ConfigError(
            f"LeRobot's format does not say what these {what} numbers are: {', '.join(unclear)}. "
            "Give source.unit=... (rad, m, 1, ...), source.action_mode=absolute|relative|delta and "
            "source.frame=joint|base|tool as the set's documentation says; for axes that differ, "
            f'e.g. source.axes=[{{match:"{what}.{unclear[0]}",unit:"1",low:0,high:1}}].'
        )
    return Vector(key=FEATURES[what], width=width, picked=tuple(picked), axes=tuple(axes))


def check_patterns(folder: LerobotFolder, options: LerobotConfig) -> None:
    """Raise ConfigError for a rule of `options.axes` that matches no axis."""
    names = [
        f"{what}.{name}"
        for what in FEATURES
        for name in _name_axes(folder, what, read_width(folder, what))
    ]
    for rule in options.axes:
        if not any(fnmatchcase(name, rule.match) for name in names):
            raise ConfigError(
                f"source.axes: no axis matches {rule.match!r}. Axes: {', '.join(names)}."
            )


def _find_rule(rules: list[AxisRule], name: str) -> AxisRule:
    """The first that matches, or one that says nothing."""
    return next((rule for rule in rules if fnmatchcase(name, rule.match)), AxisRule())


def _name_axes(folder: LerobotFolder, what: str, width: int) -> list[str]:
    """One name per number: GR00T's slices where they say, else info.json's, else numbers."""
    key = FEATURES[what]
    names = _flatten(folder.features[key].get("names")) or [f"{what}_{n}" for n in range(width)]
    if len(names) != width:
        raise DataError(f"{folder.path}: {key!r} has {width} numbers and {len(names)} names.")
    for part, span in folder.modality.get(what, {}).items():
        if span.get("original_key", key) != key:
            continue
        start, end = int(span["start"]), int(span["end"])
        if not 0 <= start < end <= width:
            raise DataError(
                f"{folder.path}/meta/modality.json: {part!r} spans {start} to {end} of {width}."
            )
        names[start:end] = [f"{part}_{n}" for n in range(end - start)]
    counts = Counter(names)  # two fingers, both called "gripper": LIBERO does that
    return [
        f"{name}_{names[:index].count(name)}" if counts[name] > 1 else name
        for index, name in enumerate(names)
    ]


def _flatten(names: Any) -> list[str]:
    """Names as versions and authors wrote them: a list, a list in a list, or in a dictionary."""
    if isinstance(names, dict):
        if all(isinstance(value, int) for value in names.values()):
            return sorted(names, key=names.__getitem__)
        return [item for value in names.values() for item in _flatten(value)]
    if isinstance(names, list | tuple):
        return [item for value in names for item in _flatten(value)]
    return [] if names is None else [str(names)]
