"""Layers of an action expert: a narrow decoder that thinks along with a wide one.

The keys and values a language model made of its prefix are all that an expert needs of it: the
prefix never sees the actions, so one pass over it serves every denoising step. A layer either
joins them with its own keys and values (pi0, arXiv 2410.24164), or looks at them alone, through
projections of its own (SmolVLA's cross-attention, arXiv 2506.01844).

Maths and names follow Gemma's and Llama's layers, so that public weights fit.

Legend: B samples, n new tokens, N of the prefix, W width, Q heads, K key-value heads, d of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.backbones.interface import Geometry

_ACTIVATIONS = {"gemma": "gelu", "llama": "silu"}
_EPSILONS = {"gemma": 1e-6, "llama": 1e-5}


class RmsNorm(nn.Module):
    """x / rms(x), scaled by a weight or, given a condition, by what it says (adaRMS, pi0.5).

    The conditional one starts as the plain one with a closed gate: a layer built of it starts
    as the identity.
    """

    def __init__(self, width: int, *, family: str, condition: int = 0):
        """`condition`: width of the condition, 0 for none."""
        super().__init__()
        self.epsilon = _EPSILONS[family]
        self.weight = None if condition else nn.Parameter(torch.ones(width))
        self.modulate = nn.Linear(condition, 3 * width) if condition else None
        if self.modulate is not None:
            nn.init.zeros_(self.modulate.weight)
            nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """`x` (B, n, W), `condition` (B, 1 or n, C): normed (B, n, W) and its gate, if any."""
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.epsilon)
        if self.modulate is None or condition is None:
            return (normed * self.weight).to(x.dtype), None
        scale, shift, gate = self.modulate(condition).float().chunk(3, dim=-1)
        return (normed * (1 + scale) + shift).to(x.dtype), gate.to(x.dtype)


class ExpertLayer(nn.Module):
    """One decoder layer of the expert, next to one of the language model.

    Args:
        geometry: of the language model; its key-value heads are shared.
        width: W of the expert's hidden states.
        mlp: width of the MLP.
        family: "gemma" or "llama".
        condition: width of the condition of the norms, 0 for none.
        joint: attend to prefix and own tokens; else to the prefix alone.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        width: int,
        mlp: int,
        family: str,
        condition: int,
        joint: bool,
    ):
        super().__init__()
        self.joint, self.head_dim, self.activation = joint, geometry.head_dim, _ACTIVATIONS[family]
        queries = geometry.heads * geometry.head_dim
        shared = geometry.key_value_heads * geometry.head_dim
        self.query = nn.Linear(width, queries, bias=False)
        self.key = nn.Linear(width if joint else shared, shared, bias=False)
        self.value = nn.Linear(width if joint else shared, shared, bias=False)
        self.out = nn.Linear(queries, width, bias=False)
        self.gate = nn.Linear(width, mlp, bias=False)
        self.up = nn.Linear(width, mlp, bias=False)
        self.down = nn.Linear(mlp, width, bias=False)
        self.attention_norm = RmsNorm(width, family=family, condition=condition)
        self.mlp_norm = RmsNorm(width, family=family, condition=condition)

    def read(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """What this layer makes of the prefix's keys and values (B, K, N, d), once for all steps.

        Keys that go through the expert's own projection are not rotated once more; they carry
        the language model's positions already, as in SmolVLA.
        """
        if self.joint:
            return key, value
        dtype = self.key.weight.dtype
        return tuple(  # type: ignore[return-value]
            self._split(project(part.to(dtype).transpose(1, 2).flatten(2)))
            for project, part in ((self.key, key), (self.value, value))
        )

    def forward(
        self,
        x: Tensor,
        condition: Tensor | None,
        known: tuple[Tensor, Tensor],
        visible: Tensor,
        turn: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Hidden states (B, n, W) one layer on.

        Args:
            x: (B, n, W).
            condition: (B, 1 or n, C), or None.
            known: the prefix as `read` gave it.
            visible: bool (B, 1, n, N + n), or (B, 1, 1, N) for a layer that is not joint.
            turn: cosines and sines of the tokens' positions, see `turns`.
        """
        normed, gate = self.attention_norm(x, condition)
        query = rotate(self._split(self.query(normed)), turn)
        key, value = known
        if self.joint:
            own = rotate(self._split(self.key(normed)), turn)
            key = torch.cat([key.to(own.dtype), own], dim=2)
            own = self._split(self.value(normed))
            value = torch.cat([value.to(own.dtype), own], dim=2)
        seen = F.scaled_dot_product_attention(
            query, key.to(query.dtype), value.to(query.dtype), attn_mask=visible, enable_gqa=True
        )
        x = _add(x, self.out(seen.transpose(1, 2).flatten(2)), gate)
        normed, gate = self.mlp_norm(x, condition)
        return _add(x, self._think(normed), gate)

    def _think(self, x: Tensor) -> Tensor:
        gate = self.gate(x)
        bent = F.gelu(gate, approximate="tanh") if self.activation == "gelu" else F.silu(gate)
        return self.down(bent * self.up(x))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


def turns(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines float32 (B, 1, n, d / 2) of rotary positions (Su et al., 2104.09864).

    Args:
        positions: int64 (B, n).
        head_dim: d.
        theta: base of the periods.
    """
    powers = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions.float().unsqueeze(-1) / theta**powers
    return angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn (B, heads, n, d) by its positions, first half against second half, as Llama does."""
    cosine, sine = turn
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
    return turned.to(x.dtype)


def _add(x: Tensor, change: Tensor, gate: Tensor | None) -> Tensor:
    return x + change if gate is None else x + change * gate
