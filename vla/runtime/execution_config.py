"""Choices of how plans become actions, and of how they are joined to each other."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vla.contract import Policy
from vla.embodiment import Embodiment
from vla.errors import ConfigError

if TYPE_CHECKING:
    from vla.runtime.chunking import ChunkExecution


@dataclass(kw_only=True, slots=True)
class ExecutionConfig:
    """The newest plan replaces the one before it; base of the other methods."""

    kind: str = "newest"

    def build(self, embodiment: Embodiment, *, hz: float = 0.0) -> "ChunkExecution":
        """The bookkeeping; `hz` is the rate of the stream, 0: that of the plans."""
        from vla.runtime.chunking import NewestChunk

        return NewestChunk(embodiment, hz=hz)

    def wrap(self, policy: Policy) -> Policy:
        """The policy that the controller asks."""
        return policy

    @property
    def told(self) -> bool:
        """Whether that policy is told what is left of its last plan."""
        return False


@dataclass(kw_only=True, slots=True)
class CrossFadeConfig(ExecutionConfig):
    """From plan to plan in a straight line.

    Attributes:
        rows: how long that takes.
    """

    kind: str = "crossfade"
    rows: int = 4

    def __post_init__(self) -> None:
        require(self, rows=self.rows >= 0)

    def build(self, embodiment: Embodiment, *, hz: float = 0.0) -> "ChunkExecution":
        """See `ExecutionConfig.build`."""
        from vla.runtime.chunking_blends import CrossFade

        return CrossFade(embodiment, fade=self.rows, hz=hz)


@dataclass(kw_only=True, slots=True)
class EnsembleConfig(ExecutionConfig):
    """ACT's mean over all plans that reach the present; with control.execute=1.

    Attributes:
        decay: the i-th oldest weighs exp(-decay i); 0: all alike.
        window: plans kept at most.
    """

    kind: str = "ensemble"
    decay: float = 0.01
    window: int = 100

    def __post_init__(self) -> None:
        require(self, window=self.window >= 1)

    def build(self, embodiment: Embodiment, *, hz: float = 0.0) -> "ChunkExecution":
        """See `ExecutionConfig.build`."""
        from vla.runtime.chunking_blends import TemporalEnsemble

        return TemporalEnsemble(embodiment, decay=self.decay, window=self.window, hz=hz)


@dataclass(kw_only=True, slots=True)
class AdaptiveConfig(ExecutionConfig):
    """CogACT's mean over the plans that agree with the newest; with control.execute=1.

    Attributes:
        alpha: how much agreement counts; 0: not at all. CogACT publishes 0.1, nearly a plain
            mean.
        window: plans kept at most.
        floor: shorter motion, in half ranges of the axes, has no direction.
    """

    kind: str = "adaptive"
    alpha: float = 4.0
    window: int = 8
    floor: float = 0.02

    def __post_init__(self) -> None:
        require(self, alpha=self.alpha >= 0, window=self.window >= 1, floor=self.floor >= 0)

    def build(self, embodiment: Embodiment, *, hz: float = 0.0) -> "ChunkExecution":
        """See `ExecutionConfig.build`."""
        from vla.runtime.chunking_blends import AdaptiveEnsemble

        return AdaptiveEnsemble(
            embodiment, alpha=self.alpha, window=self.window, floor=self.floor, hz=hz
        )


@dataclass(kw_only=True, slots=True)
class BidirectionalConfig(ExecutionConfig):
    """Of several plans the one that goes on best from the last; for policies that sample.

    Attributes:
        samples: plans drawn per plan.
        decay: row k of the last plan counts decay^k.
    """

    kind: str = "bidirectional"
    samples: int = 8
    decay: float = 0.5

    def __post_init__(self) -> None:
        require(self, samples=self.samples >= 1, decay=0 < self.decay <= 1)

    def wrap(self, policy: Policy) -> Policy:
        """See `ExecutionConfig.wrap`."""
        from vla.runtime.joining import Bidirectional

        return Bidirectional(policy, samples=self.samples, decay=self.decay)

    @property
    def told(self) -> bool:
        """See `ExecutionConfig.told`."""
        return True


@dataclass(kw_only=True, slots=True)
class RtcConfig(ExecutionConfig):
    """Real-time chunking: the head keeps the committed rows and is drawn to those behind.

    For heads that denoise (policy.head.pull, policy.head.soft_mask); others keep the committed
    rows and ignore the rest.
    """

    kind: str = "rtc"

    @property
    def told(self) -> bool:
        """See `ExecutionConfig.told`."""
        return True


@dataclass(kw_only=True, slots=True)
class TrainedRtcConfig(RtcConfig):
    """Training-time real-time chunking: the head is given the committed rows, and no more.

    Attributes:
        most: committed rows at most, policy.head.delay of the training; 0: all.
    """

    kind: str = "rtc_trained"
    most: int = 0

    def __post_init__(self) -> None:
        require(self, most=self.most >= 0)

    def wrap(self, policy: Policy) -> Policy:
        """See `ExecutionConfig.wrap`."""
        from vla.runtime.joining import Forgetting

        return Forgetting(policy, most=self.most)


EXECUTIONS: dict[str, type[ExecutionConfig]] = {
    "newest": ExecutionConfig,
    "crossfade": CrossFadeConfig,
    "ensemble": EnsembleConfig,
    "adaptive": AdaptiveConfig,
    "bidirectional": BidirectionalConfig,
    "rtc": RtcConfig,
    "rtc_trained": TrainedRtcConfig,
}


def require(config: ExecutionConfig, **checks: bool) -> None:
    """Raise ConfigError naming the first attribute whose check failed."""
    for name, passed in checks.items():
        if not passed:
            raise ConfigError(
                f"control.execution.{name} is {getattr(config, name)}, out of range for "
                f"{config.kind!r}; see `vla list group=control/execution`."
            )
