"""An action expert behind a language model (pi0, pi0.5, SmolVLA), trained by flow matching.

    language model:  pictures, words ──▶ keys and values of every layer ─┐ (once per plan)
                                                                         ▼
    expert:          [state] noisy rows, time ──▶ layer ▶ layer ▶ ... ──▶ velocity of each row

Who sees whom is block-causal: the prefix itself only; the state the prefix; the action rows
the prefix, the state and each other. So nothing the expert does changes the prefix, and one
encoding serves every denoising step.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.backbones.interface import Context, ContextShape, Prefix
from policies.heads.config_expert import ExpertConfig
from policies.heads.config_language import require_language
from policies.heads.denoising import DenoisingHead
from policies.heads.expert_layers import ExpertLayer, RmsNorm, turns
from vla.errors import ConfigError, ShapeError


class ExpertNetwork(nn.Module):
    """The velocity field; its context must have gone through `read`.

    Raises:
        ConfigError: for a backbone without a language model, one whose layers do not divide
            among the expert's, or one without a state when a state token is asked for.
    """

    def __init__(self, config: ExpertConfig, *, shape: ContextShape, action_dim: int, horizon: int):
        super().__init__()
        self.config, self.horizon = config, horizon
        self.geometry = geometry = require_language(config, shape)
        count = config.layers or geometry.layers
        if geometry.layers % count:
            raise ConfigError(
                f"ExpertConfig.layers is {count}; it must divide the {geometry.layers} layers of "
                "the language model (0: as many)."
            )
        self.stride = geometry.layers // count
        width = config.width or int(0.75 * geometry.width)
        adaptive = config.time == "norm"
        condition = width if adaptive else 0
        self.width = width
        self.enter = nn.Linear(action_dim, width)
        self.leave = nn.Linear(width, action_dim)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.time_in = nn.Linear(width if adaptive else 2 * width, width)
        self.time_out = nn.Linear(width, width)
        self.state = None
        if config.state == "token":
            if not shape.state_dim:
                raise ConfigError(
                    "ExpertConfig.state is 'token', but the backbone has none; take 'none'."
                )
            self.state = nn.Linear(shape.state_dim, width)
        self.layers = nn.ModuleList(
            ExpertLayer(
                geometry,
                width=width,
                mlp=config.mlp or widen(width),
                family=config.family,
                condition=condition,
                joint=index % config.joint_every == 0,
            )
            for index in range(count)
        )
        self.norm = RmsNorm(width, family=config.family, condition=condition)

    def read(self, context: Context) -> Context:
        """The context with its prefix as the expert's layers see it; once for all steps.

        Raises:
            ShapeError: when the context has no prefix.
        """
        prefix = context.prefix
        if prefix is None:
            raise ShapeError("The context has no prefix; the expert needs a language backbone.")
        if self.config.insulate:
            prefix = prefix.detach()
        layers = tuple(
            layer.read(*prefix.layers[index * self.stride])
            for index, layer in enumerate(self.layers)
        )
        seen = Prefix(layers=layers, mask=prefix.mask, positions=prefix.positions)
        return Context(
            tokens=context.tokens,
            mask=context.mask,
            pooled=context.pooled,
            state=context.state,
            prefix=seen,
        )

    def forward(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        """Noisy rows (B, H, A) to their velocity float32 (B, H, A).

        Args:
            x: noisy rows.
            time: (B,), or (B, H) row by row; 0 is noise.
            context: as `read` gave it.
        """
        prefix = context.prefix
        assert prefix is not None
        tokens, condition = self._embed(x, time, context)
        dtype = next(self.norm.parameters()).dtype  # of the layers; what is at the ends is float32
        tokens = tokens.to(dtype)
        condition = None if condition is None else condition.to(dtype)
        count, size = tokens.shape[1], x.shape[0]
        own = torch.ones(count, count, dtype=torch.bool, device=x.device)
        if self.config.causal:
            own = own.tril()
        if self.state is not None:
            own[0, 1:] = False
        before = prefix.mask[:, None, None, :]  # (B, 1, 1, N)
        joint = torch.cat(
            [before.expand(-1, -1, count, -1), own.expand(size, 1, count, count)], dim=3
        )
        index = torch.arange(count, device=x.device).expand(size, -1)
        last = prefix.positions.masked_fill(~prefix.mask, -1).amax(dim=1, keepdim=True)
        theta, head_dim = self.geometry.rope_theta, self.geometry.head_dim
        behind, alone = turns(last + 1 + index, head_dim, theta), turns(index, head_dim, theta)
        for layer, known in zip(self.layers, prefix.layers, strict=True):
            if layer.joint:
                tokens = layer(tokens, condition, known, joint, behind)
            else:  # SmolVLA counts positions from 0 where only the prefix is looked at
                tokens = layer(tokens, condition, known, before, alone)
        tokens, _ = self.norm(tokens, condition)
        return self.leave(tokens[:, -self.horizon :].to(self.leave.weight.dtype)).float()

    def _embed(self, x: Tensor, time: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        """Tokens (B, n, W) of state and rows, and the condition (B, 1 or n, W) of the norms."""
        tokens = self.enter(x)
        clock = encode_time(time if time.ndim == 2 else time.unsqueeze(1), self.width)
        clock = clock.to(tokens.dtype)
        condition = None
        if self.config.time == "norm":
            condition = F.silu(self.time_out(F.silu(self.time_in(clock))))
        else:
            both = torch.cat([tokens, clock.expand_as(tokens)], dim=-1)
            tokens = self.time_out(F.silu(self.time_in(both)))
        if self.state is None:
            return tokens, condition
        if context.state is None:
            raise ShapeError("The context has no state; the expert's state token needs it.")
        state = self.state(context.state.flatten(1).to(x.dtype)).unsqueeze(1).to(tokens.dtype)
        if condition is not None and condition.shape[1] > 1:
            condition = torch.cat([condition[:, -1:], condition], dim=1)  # the chunk's own time
        return torch.cat([state, tokens], dim=1), condition


class ExpertHead(DenoisingHead):
    """Flow matching with an `ExpertNetwork`; see the module's docstring."""

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """Denoise `noise` in the configured steps; the prefix is read once for all of them."""
        return super().sample(self.denoiser.read(context), pending, noise, tentative=tentative)

    def wide(self) -> list[nn.Module]:
        """See `Head.wide`."""
        return [self.denoiser.layers, self.denoiser.norm]

    def _prepare(self, context: Context, generator: torch.Generator) -> Context:
        return self.denoiser.read(context)


def encode_time(time: Tensor, width: int) -> Tensor:
    """Sinusoids (..., width) of times in [0, 1], 0 at the noise; periods from 4e-3 to 4.

    pi0 counts its time backwards, 1 at the noise. In double precision, as there: the fastest
    wave turns 250 times.
    """
    periods = 4 * torch.logspace(-3, 0, width // 2, dtype=torch.float64, device=time.device)
    angles = (1 - time).double().unsqueeze(-1) * (2 * torch.pi / periods)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


def widen(width: int) -> int:
    """Width of a gated MLP with about as many weights as a plain one of 4 times `width`.

    Llama's rule, also SmolVLA's: 8 / 3 of the width, up to the next multiple of 256.
    """
    return -(-int(4 * int(2 * width / 3)) // 256) * 256
