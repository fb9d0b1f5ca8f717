"""Options of the control loop."""

import math
from dataclasses import dataclass, field

from vla.contract import Controller, Policy
from vla.errors import ConfigError, UnknownChoice

KINDS = ("sync",)


@dataclass(kw_only=True, slots=True)
class ControlConfig:
    """How plans become commands.

    Attributes:
        kind: "sync": the loop waits for the policy whenever it needs a plan.
        execute: rows of a plan to run before asking again; a shorter plan runs to its end.
        rate_limits: per action axis, the largest change of the command in units per second;
            axes that are not named are not limited.
    """

    kind: str = "sync"
    execute: int = 4
    rate_limits: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownChoice("control kind", self.kind, KINDS)
        if self.execute < 1:
            raise ConfigError(f"control.execute is {self.execute}; run at least one row of a plan.")
        for name, limit in self.rate_limits.items():
            if not (limit > 0 and math.isfinite(limit)):
                raise ConfigError(
                    f"control.rate_limits[{name!r}] is {limit}; give a positive number, "
                    "or leave the axis out for no limit."
                )

    def build(self, policy: Policy) -> Controller:
        """The controller that drives `policy`."""
        from vla.runtime.controller import ChunkController

        return ChunkController(policy, config=self)
