"""Where pictures come from on a robot, and the checks before a policy may see them."""

from typing import Protocol, runtime_checkable

from vla.embodiment import Embodiment
from vla.errors import RobotError
from vla.types import Uint8

Frames = dict[str, tuple[Uint8, float]]
"""Per camera: uint8 (H, W, 3), RGB, upright, and its capture time on the monotonic clock."""


@runtime_checkable
class CameraSource(Protocol):
    """All cameras of a robot. It never waits for a picture: it gives the newest it has."""

    def latest(self) -> Frames:
        """The newest picture of every camera. Raises RobotError when one never came."""
        ...

    def close(self) -> None:
        """Release the devices; idempotent."""
        ...


class NoCameras:
    """For a body without cameras."""

    def latest(self) -> Frames:
        """No pictures."""
        return {}

    def close(self) -> None:
        """Nothing to release."""


def check_frames(frames: Frames, embodiment: Embodiment) -> None:
    """Raise RobotError unless every camera of `embodiment` gave a picture of its size."""
    for name, camera in embodiment.cameras.items():
        if name not in frames:
            have = ", ".join(sorted(frames)) or "none"
            raise RobotError(f"Camera {name!r} gives no picture (those that do: {have}).")
        shape, want = frames[name][0].shape, (camera.height, camera.width, 3)
        if shape != want:
            raise RobotError(f"Camera {name!r} gives {shape} pictures; the policy sees {want}.")


def oldest_time(frames: Frames) -> float:
    """Capture time of the oldest picture, seconds; NaN without cameras."""
    return min((time for _, time in frames.values()), default=float("nan"))
