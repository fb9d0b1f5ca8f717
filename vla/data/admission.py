"""What an episode must satisfy before a store takes it."""

import json

import numpy as np

from vla.data.encoding import describe_optional
from vla.data.manifest import Shape
from vla.embodiment import Axis, Embodiment
from vla.errors import DataError
from vla.types import Float32, Trajectory

TOLERANCE = 1e-6
"""Slack on action bounds, relative above 1: float32 cannot hold every bound exactly."""


def check_trajectory(
    trajectory: Trajectory, embodiment: Embodiment, *, optional: dict[str, Shape] | None, name: str
) -> None:
    """Stop unless `trajectory` is what `embodiment` declares.

    Args:
        trajectory: the candidate.
        embodiment: the store's.
        optional: the store's optional columns; None when it holds no episode yet.
        name: what to call the episode in messages, e.g. "Episode 12".

    Raises:
        DataError: naming the episode, the axis or camera, and the remedy.
    """
    _check_vector(name, "state", trajectory.state, embodiment.state)
    if trajectory.action is not None:
        _check_vector(name, "action", trajectory.action, embodiment.action)
        _check_bounds(name, trajectory.action, embodiment.action)
    if trajectory.sent is not None:
        _check_vector(name, "sent", trajectory.sent, embodiment.action)
    _check_cameras(name, trajectory, embodiment)
    if not np.isfinite(trajectory.time).all() or not (np.diff(trajectory.time) > 0).all():
        raise DataError(f"{name}: time must be finite and increase from step to step.")
    _check_captured(name, trajectory, embodiment)
    _check_labels(name, trajectory.labels)
    starts = [subtask.start for subtask in trajectory.subtasks]
    if starts != sorted(starts):
        raise DataError(f"{name}: subtasks must come in order of their start, not {starts}.")
    given = describe_optional(trajectory)
    if optional is not None and given != optional:
        raise DataError(
            f"{name}: has the optional columns {given}, the store's episodes have {optional} "
            "(name: shape of one step). Give every episode of a store the same ones."
        )
    try:
        json.dumps(trajectory.source, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: source must hold JSON values only: {error}.") from error


def _check_vector(name: str, what: str, values: Float32, axes: tuple[Axis, ...]) -> None:
    if values.shape[1] != len(axes):
        raise DataError(
            f"{name}: {what} has {values.shape[1]} axes, the embodiment declares {len(axes)}: "
            f"{', '.join(axis.name for axis in axes)}. Record it with the store's embodiment."
        )
    bad = ~np.isfinite(values)
    if bad.any():
        step, axis = np.argwhere(bad)[0]
        raise DataError(
            f"{name}: {what} axis {axes[axis].name!r} is {values[step, axis]} at step {step}; "
            "only finite numbers can be learned from. Drop the episode or repair its source."
        )


def _check_bounds(name: str, action: Float32, axes: tuple[Axis, ...]) -> None:
    low = np.array([axis.low for axis in axes], np.float64)
    high = np.array([axis.high for axis in axes], np.float64)
    bad = (action < low - TOLERANCE * np.maximum(1, np.abs(low))) | (
        action > high + TOLERANCE * np.maximum(1, np.abs(high))
    )
    if bad.any():
        step, index = np.argwhere(bad)[0]
        axis = axes[index]
        raise DataError(
            f"{name}: action axis {axis.name!r} is {action[step, index]:.6g} {axis.unit} at step "
            f"{step}, outside [{axis.low:g}, {axis.high:g}] ({bad[:, index].sum()} of "
            f"{len(action)} steps). Clip when recording, or declare the true bounds."
        )


def _check_cameras(name: str, trajectory: Trajectory, embodiment: Embodiment) -> None:
    if set(trajectory.images) != set(embodiment.cameras):
        raise DataError(
            f"{name}: has cameras {sorted(trajectory.images)}, the embodiment declares "
            f"{sorted(embodiment.cameras)}. Give exactly the declared ones."
        )
    for camera, frames in trajectory.images.items():
        if isinstance(frames, np.ndarray):
            declared = embodiment.cameras[camera]
            if frames.shape[1:3] != (declared.height, declared.width):
                raise DataError(
                    f"{name}: camera {camera!r} gives {frames.shape[1]}x{frames.shape[2]}, the "
                    f"embodiment declares {declared.height}x{declared.width}. Resize before."
                )


def _check_captured(name: str, trajectory: Trajectory, embodiment: Embodiment) -> None:
    for what, values in (("captured", trajectory.captured), ("depth", trajectory.depth)):
        unknown = sorted(set(values) - set(embodiment.cameras))
        if unknown:
            raise DataError(
                f"{name}: {what} names cameras {unknown}, the embodiment declares "
                f"{sorted(embodiment.cameras)}. Give {what} under the colour camera's name."
            )
    for camera, times in trajectory.captured.items():
        # Equal times are legal: a slow camera's frame serves several steps.
        if not np.isfinite(times).all() or (np.diff(times) < 0).any():
            raise DataError(
                f"{name}: captured times of camera {camera!r} must be finite and never decrease."
            )


def _check_labels(name: str, labels: dict[str, Float32]) -> None:
    for label, values in labels.items():
        if "/" in label or not label:
            raise DataError(f"{name}: label name {label!r} cannot be a folder name.")
        if not np.isfinite(values).all():
            raise DataError(f"{name}: label {label!r} holds NaN or inf.")
