"""What a robot under control is doing, as the flight log and the operator read it."""

from enum import IntEnum


class State(IntEnum):
    """One per tick; the number goes into the log.

    Only RUN may make a robot faster. HOLD slows down to rest and keeps the torque on; it ends
    by itself when its reason does. STOP, ESTOP and FAULT are latched: only an operator ends them.
    """

    RUN = 0
    HOLD = 1
    STOP = 2
    ESTOP = 3
    FAULT = 4


STATES = tuple(state.name for state in State)
"""Names by number, for the header of the flight log."""
