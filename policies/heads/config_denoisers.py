"""Choices of the diffusion heads that see a summary of the context instead of all of it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from policies.checks import require_heads, require_positive
from policies.heads.config import DdpmConfig
from vla.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from policies.backbones.interface import ContextShape
    from policies.heads.interface import Head


@dataclass(kw_only=True, slots=True)
class SummaryConfig(DdpmConfig):
    """Base of these heads.

    Attributes:
        readouts: how many readout tokens to ask the backbone for; 0 takes its pooled vector.
    """

    readouts: int = 0

    def __post_init__(self) -> None:
        DdpmConfig.__post_init__(self)
        if self.readouts < 0:
            raise ConfigError(f"{type(self).__name__}.readouts is negative; 0 takes the summary.")

    def count_readouts(self, *, action_dim: int, horizon: int) -> int:
        """How many readout tokens R the backbone shall append for this head."""
        return self.readouts

    def _finish(self, network: "nn.Module", horizon: int) -> "Head":
        """The head around a network that knows one time per chunk."""
        from policies.heads.denoising import DenoisingHead, Flagged

        return DenoisingHead(
            self,
            process=self.make_process(),
            network=Flagged(network) if self.delay else network,
            horizon=horizon,
            clip=self.clip,
        )


@dataclass(kw_only=True, slots=True)
class DitConfig(SummaryConfig):
    """CogACT: a diffusion transformer led by one token of what was understood.

    The defaults are CogACT's small one (13 M parameters at its own sizes of chunk and model).

    Attributes:
        width, layers, attention_heads: of the transformer.
        forget: how often training replaces what was understood by "no idea".
        guidance: scale s of classifier-free guidance when sampling; 1 does without, others
            cost a second pass.
        limit: bound on the finished chunk, in normalised units; 0 leaves it alone. CogACT's own
            code has 1.
    """

    kind: str = "dit"
    width: int = 384
    layers: int = 6
    attention_heads: int = 4
    draws: int = 8
    clip: float = 0.0
    forget: float = 0.1
    guidance: float = 1.5
    limit: float = 0.0

    def __post_init__(self) -> None:
        SummaryConfig.__post_init__(self)
        require_positive(self, "width", "layers", "attention_heads")
        require_heads(self)
        if self.limit < 0:
            raise ConfigError("DitConfig.limit is negative; 0 leaves the chunk alone.")
        if not 0 <= self.forget < 1:
            raise ConfigError(f"DitConfig.forget is {self.forget}; it must be within 0 to 1.")
        if self.forget == 0 and self.guidance != 1:
            raise ConfigError(
                f"DitConfig.guidance {self.guidance} needs forget above 0: only by forgetting "
                "does the network learn what it would do without having looked; or take guidance=1."
            )

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.dit import DitHead

        return DitHead(self, context_dim=shape.dim, action_dim=action_dim, horizon=horizon)


@dataclass(kw_only=True, slots=True)
class UnetConfig(SummaryConfig):
    """Diffusion Policy: a U-Net of convolutions over the rows of the chunk.

    Attributes:
        widths: channels of each level; each has half the rows of the one before.
        kernel: of the convolutions, an odd number of rows.
        groups: of the group norms; they divide each width.
        time_width: of the encoding of the time, an even number.
    """

    kind: str = "unet"
    widths: list[int] = field(default_factory=lambda: [128, 256, 512])
    kernel: int = 5
    groups: int = 8
    time_width: int = 128

    def __post_init__(self) -> None:
        SummaryConfig.__post_init__(self)
        require_positive(self, "kernel", "groups", "time_width")
        if not self.widths or any(width <= 0 or width % self.groups for width in self.widths):
            raise ConfigError(
                f"UnetConfig.widths {list(self.widths)} must be multiples of groups {self.groups}."
            )
        if self.kernel % 2 == 0 or self.time_width % 2:
            raise ConfigError(
                f"UnetConfig: kernel {self.kernel} must be odd and time_width {self.time_width} "
                "even."
            )

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.unet import Unet

        inputs = action_dim + (self.delay > 0)
        network = Unet(self, context_dim=shape.dim, inputs=inputs, action_dim=action_dim)
        return self._finish(network, horizon)


@dataclass(kw_only=True, slots=True)
class ReadoutConfig(SummaryConfig):
    """Octo: a small residual MLP that denoises the whole chunk, 20 steps of 20.

    Attributes:
        width, layers: of the MLP.
    """

    kind: str = "readout"
    width: int = 256
    layers: int = 3
    train_steps: int = 20
    steps: int = 20
    clip: float = 5.0

    def __post_init__(self) -> None:
        SummaryConfig.__post_init__(self)
        require_positive(self, "width", "layers")

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.readout import ReadoutNetwork

        network = ReadoutNetwork(
            self,
            context_dim=shape.dim,
            inputs=action_dim + (self.delay > 0),
            action_dim=action_dim,
            horizon=horizon,
        )
        return self._finish(network, horizon)
