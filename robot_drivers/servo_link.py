"""The seam below `ServoArm`: what a vendor's SDK must be able to do, in five calls.

Beside them a link has two for an operator, from any thread and never in a loop:
`recover()` clears a stop or an error, `release()` takes the power off the motors.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vla.errors import RobotError

Float64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One reading of an arm.

    Attributes:
        joints: (N,) rad.
        stamp: anything that changes with every fresh reading (the controller's clock, a
            counter); a controller that hangs shows by a stamp that stands still.
        pose: (6,) tool in the base: x, y, z in metres, rotation vector in rad; None: unknown.
        grip: 0 closed to 1 open; None without a gripper.
    """

    joints: Float64
    stamp: float
    pose: Float64 | None = None
    grip: float | None = None


@runtime_checkable
class ServoLink(Protocol):
    """One arm's SDK. All calls come from one thread, which may be held up by them.

    Each raises RobotError: ArmStopped when the controller has stopped the arm, ArmSilent
    when it is gone.
    """

    def open(self) -> None:
        """Connect and get ready to servo, without motion; arm the device's own watchdog."""
        ...

    def sense(self) -> Sample:
        """The newest reading; does not wait for a new one."""
        ...

    def servo(self, target: Float64, grip: float | None) -> None:
        """Stream one small step: joints (N,) in rad, or a tool pose (6,)."""
        ...

    def stop(self) -> None:
        """Decelerate and hold, torque on."""
        ...

    def close(self) -> None:
        """Disconnect; the arm keeps holding. Called once, also after a failed `open`."""
        ...


def require_finite(values: Float64, what: str) -> Float64:
    """`values`, unless one is NaN or infinite: the last line before an SDK.

    Raises:
        RobotError: always a bug above, because the gate lets nothing of the kind through.
    """
    if not np.isfinite(values).all():
        raise RobotError(f"{what} {np.asarray(values).tolist()} is not finite; it was not sent.")
    return values
