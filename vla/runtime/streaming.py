"""A body at another rate of commands."""

from dataclasses import replace

from vla.embodiment import Embodiment


def at_rate(embodiment: Embodiment, hz: float) -> Embodiment:
    """The same body with commands at `hz`; steps of delta axes shrink or grow in proportion.

    Plans keep the policy's rate; what is streamed to the robot has this one.
    """
    if hz == embodiment.hz:
        return embodiment
    share = embodiment.hz / hz
    action = tuple(
        replace(axis, low=axis.low * share, high=axis.high * share)
        if axis.mode == "delta"
        else axis
        for axis in embodiment.action
    )
    return replace(embodiment, action=action, hz=hz)
