"""Every choice that makes a policy. Plain data: importing this costs nothing.

A config builds its owner; heavy imports happen in `build`.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from policies.backbones.config import BackboneConfig
from policies.checks import require_choice, require_positive
from policies.heads.config import HeadConfig
from policies.peft.config import PeftConfig
from vla.embodiment import Embodiment
from vla.errors import ConfigError

if TYPE_CHECKING:
    from vla.contract import Policy
    from vla.data.stats import Statistics

NORMALIZATIONS = ("quantile", "min_max", "mean_std")


@dataclass(kw_only=True, slots=True)
class PolicyConfig:
    """Base of the policies' configs."""

    kind: str = ""

    def build(self, embodiment: Embodiment, statistics: "Statistics | None") -> "Policy":
        """Make the policy for `embodiment`.

        Args:
            embodiment: whose cameras, state and actions the policy is for.
            statistics: of the training data; None only when weights, which hold their own,
                are about to be loaded.
        """
        raise ConfigError("No policy is chosen; take VlaPolicyConfig or LerobotPolicyConfig.")


@dataclass(kw_only=True, slots=True)
class VlaPolicyConfig(PolicyConfig):
    """A backbone and a head, trained together; both must be chosen.

    Attributes:
        history: observation steps T it sees.
        horizon: action rows H it plans.
        normalization: which statistics bring state and actions to about [-1, 1].
        bounded_axes: axes to scale by the embodiment's bounds instead, e.g. because the
            data never move them. Axes of unit "1" between 0 and 1 always are.
        grounding_weight: of the loss on the labels that both backbone and batch have.
        state_noise: standard deviation of noise on the normalised state while training.
        relative_actions: predict how far each absolute action axis is from the newest state
            axis of the same name and unit; delta axes and those without such a partner stay
            as they are. Bodies, windows and plans keep absolute actions; see `relative.py`.
        text_weight: of the loss on the words the batch says are to be written.
        plan_words: longest plan, in words of the language model, that is written before the
            actions and read by the head (RT-2's chain of thought); 0 acts at once, and what the
            data say about plans is an auxiliary loss only.
        peft: what stays frozen and gets adapters.
    """

    kind: str = "vla"
    history: int = 1
    horizon: int = 16
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    normalization: str = "quantile"
    bounded_axes: list[str] = field(default_factory=list)
    grounding_weight: float = 1.0
    state_noise: float = 0.0
    relative_actions: bool = False
    text_weight: float = 1.0
    plan_words: int = 0
    peft: PeftConfig = field(default_factory=PeftConfig)

    def __post_init__(self) -> None:
        require_positive(self, "history", "horizon")
        require_choice(self, "normalization", NORMALIZATIONS)
        for name in ("grounding_weight", "state_noise", "text_weight", "plan_words"):
            if getattr(self, name) < 0:
                raise ConfigError(f"VlaPolicyConfig.{name} is negative.")

    def build(self, embodiment: Embodiment, statistics: "Statistics | None") -> "Policy":
        """Make the untrained policy.

        Raises:
            StatisticsError: when the statistics do not fit.
            ConfigError: for axes that the options need and the embodiment does not have.
        """
        from policies.vla_policy import VlaPolicy

        return VlaPolicy(self, embodiment, statistics)


@dataclass(kw_only=True, slots=True)
class LerobotPolicyConfig(PolicyConfig):
    """A policy trained with LeRobot, from its checkpoint folder.

    Attributes:
        path: the folder that holds config.json, model.safetensors and the processors.
        cameras: checkpoint's image key by camera name, e.g. front: observation.images.top;
            a camera left out has the key observation.images.<its name>.
        state: the checkpoint's key for the state.
        rows: how many rows of the predicted chunk to keep; 0 keeps all.
        device: torch device.
    """

    kind: str = "lerobot"
    path: str = ""
    cameras: dict[str, str] = field(default_factory=dict)
    state: str = "observation.state"
    rows: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.rows < 0:
            raise ConfigError(f"LerobotPolicyConfig.rows is {self.rows}; 0 keeps all.")

    def build(self, embodiment: Embodiment, statistics: "Statistics | None" = None) -> "Policy":
        """Load the checkpoint; its own statistics are used, `statistics` is not needed."""
        from policies.lerobot_policy import LerobotPolicy

        return LerobotPolicy(self, embodiment)
