"""Why the gate did not send a command."""

from enum import IntEnum


class Cause(IntEnum):
    """Why a command was not sent; the number goes into the log."""

    NONE = 0
    SHAPE = 1
    NOT_FINITE = 2
    BOUNDS = 3
    VELOCITY = 4
    ACCELERATION = 5
    WORKSPACE = 6
    LEAD = 7
    JOINTS = 8
    STALE = 9
    SENSOR = 10
    LATCHED = 11
    ESTOP = 12
    FAULT = 13
    JERK = 14
    TRACKING = 15
    PLAN = 16
    OVERRUN = 17
    STOP = 18


WAITING = frozenset({Cause.STALE, Cause.PLAN, Cause.OVERRUN, Cause.TRACKING})
"""Causes that pass by themselves; the command is not to blame."""

CAUSES = tuple(cause.name for cause in Cause)
"""Names by number, for the header of the flight log."""
