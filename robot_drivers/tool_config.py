"""Options of tool steps for an arm that takes joint goals."""

from dataclasses import dataclass, field
from typing import Any

from vla.errors import ConfigError

MODELS = {"so101": "emulators/so101.xml"}
"""Models that come with the package."""


@dataclass(kw_only=True, slots=True)
class ToolConfig:
    """Inverse kinematics in front of the joints (see `tool_arm`).

    Attributes:
        model: MJCF or URDF file whose joints are named like the arm's axes, or "so101" for
            the one that comes with the package; "": joint goals, no inverse kinematics.
        site: the tool: a site or a body of the model.
        origin: x, y, z of the arm's base in the policy's frame, metres.
        joint_speed: most rad/s of a joint; a step that needs more is shortened.
        lag: how far a joint may trail its goal, rad.
    """

    model: str = ""
    site: str = "tool"
    origin: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    joint_speed: float = 1.5
    lag: float = 0.5

    def __post_init__(self) -> None:
        if len(self.origin) != 3:
            raise ConfigError(f"robot.tool.origin is {self.origin}; give x, y and z.")
        for name in ("joint_speed", "lag"):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"robot.tool.{name} is {getattr(self, name)}; it must be positive."
                )

    def wrap(self, arm: Any) -> Any:
        """A `ToolArm` around `arm`. Raises ConfigError when arm and model do not fit."""
        from importlib.resources import files

        from robot_drivers.tool_arm import ToolArm

        own = MODELS.get(self.model)
        return ToolArm(
            arm,
            model=str(files("robot_drivers").joinpath(own)) if own else self.model,
            site=self.site,
            origin=list(self.origin),
            joint_speed=self.joint_speed,
            lag=self.lag,
        )
