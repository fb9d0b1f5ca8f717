"""Fewer tokens per picture, between the eyes and the language model.

Most of a vision-language model's time goes into reading picture tokens, and most of those say
little. Two ways to have fewer of them, as a wrapper around a backbone's tower:

- Average pooling, trained on scales drawn at random, so that the number may be chosen when
  acting (Matryoshka Multimodal Models, arXiv 2405.17430).
- Merging of the most similar tokens, also without training (ToMe, arXiv 2210.09461).

Left out: keeping the keys and values of patches that did not change since the last picture
(VLA-Cache, arXiv 2502.02175). A policy here is a function of its observations and remembers
nothing between calls, which is what such a cache would be; it belongs into a server.

Spatial tasks suffer first: measure closed-loop success before going below about 49 tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.backbones.interface import Backbone
from policies.backbones.language_backbone import LanguageBackbone
from policies.backbones.language_config import ReducedConfig
from policies.backbones.parts import Tower
from vla.errors import ConfigError


def reduce(config: ReducedConfig, backbone: Backbone) -> Backbone:
    """Put a reduced tower into a backbone's place for it.

    Raises:
        ConfigError: when it has no tower, fewer tokens than are to be kept, or places its
            pictures' tokens along rows and columns, which merged ones do not have.
    """
    kind = config.inner.kind or "nothing"
    if not isinstance(backbone, LanguageBackbone):
        raise ConfigError(
            f"policy/backbone=reduced wraps a backbone with a language model; inner is {kind}."
        )
    have = backbone.tower.grid[0] * backbone.tower.grid[1]
    most = max(config.keep, *config.scales) if config.scales else config.keep
    if most > have:
        raise ConfigError(f"ReducedConfig keeps {most} tokens; {kind} has {have} per picture.")
    if config.method == "merge" and backbone.planar:
        raise ConfigError(f"{kind} places tokens by rows and columns; take method='pool'.")
    backbone.tower = ReducedTower(backbone.tower, config)
    return backbone


class ReducedTower(Tower):
    """A tower that says less; everything else is the inner one's.

    Args:
        inner: the whole tower.
        config: how much less, and how.
    """

    def __init__(self, inner: Tower, config: ReducedConfig):
        super().__init__()
        self.inner = inner
        self.config = config
        self.size, self.grid, self.waits = inner.size, inner.grid, inner.waits

    @property
    def vision(self) -> nn.Module:  # type: ignore[override]
        """Of the inner tower."""
        return self.inner.vision

    @property
    def projector(self) -> nn.Module:  # type: ignore[override]
        """Of the inner tower."""
        return self.inner.projector

    def forward(self, pixels: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        """See `Tower.forward`; the number of tokens is `keep`, or a scale while training."""
        parts = self.inner(pixels, words)
        if self.config.method == "merge":
            return (merge(parts[0], self.config.keep),)
        count = self.config.keep
        if self.training and self.config.scales:
            count = self.config.scales[draw(pixels, len(self.config.scales))]
        return tuple(pool_cells(part, self.grid, round(count**0.5)) for part in parts)


def draw(pixels: Tensor, choices: int) -> int:
    """One of so many numbers, from the pictures themselves.

    A loss is a function of weights, batch and generator, and backbones are given no generator;
    so the pictures' sum is the seed: another batch, another scale, the same batch the same one.
    """
    seed = int(pixels.detach().double().sum().mul(255).round().item())
    return int(torch.randint(choices, (), generator=torch.Generator().manual_seed(seed)))


def pool_cells(tokens: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Average (M, rows * columns, D) over cells of the picture to (M, side * side, D)."""
    maps = tokens.unflatten(1, grid).movedim(-1, 1)  # (M, D, rows, columns)
    return F.adaptive_avg_pool2d(maps, side).flatten(2).transpose(1, 2)


def merge(tokens: Tensor, keep: int) -> Tensor:
    """Put the most similar tokens together until `keep` are left.

    Bipartite soft matching (ToMe, section 3): every other token looks for its most similar one
    among the rest, and the best matches become their mean, weighted by how many each stands
    for. At most half of the tokens go per round. The order of the picture is kept.

    Args:
        tokens: (M, P, D).
        keep: how many stay, at least 1.

    Returns:
        (M, keep, D).
    """
    size = tokens.new_ones(*tokens.shape[:2], 1)  # patches each token stands for
    while tokens.shape[1] > keep:
        count = tokens.shape[1]
        gone = min(count - keep, count // 2)
        unit = F.normalize(tokens.detach().float(), dim=-1)
        score = unit[:, 1::2] @ unit[:, ::2].transpose(1, 2)  # (M, P // 2, rest)
        best, partner = score.max(dim=2)
        order = best.argsort(dim=1, descending=True, stable=True)
        leaving, staying = order[:, :gone], order[:, gone:].sort(dim=1).values
        into = 2 * partner.gather(1, leaving)  # place in the picture
        from_ = 2 * leaving + 1
        summed = _add(tokens * size, into, _take(tokens * size, from_))
        size = _add(size, into, _take(size, from_))
        evens = torch.arange(0, count, 2, device=tokens.device).expand(len(tokens), -1)
        left = torch.cat([evens, 2 * staying + 1], dim=1).sort(dim=1).values
        tokens, size = _take(summed, left) / _take(size, left), _take(size, left)
    return tokens


def _take(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def _add(x: Tensor, places: Tensor, more: Tensor) -> Tensor:
    return x.scatter_add(1, places[..., None].expand(-1, -1, x.shape[-1]), more)
