"""One sequence out of words, pictures and state: embeddings, mask, blocks and positions.

Legend: B samples, n tokens of a piece, N of all, D width.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Tokens that stand next to each other.

    Attributes:
        tokens: (B, n, D).
        mask: bool (B, n), True where a token is real.
        block: number of who sees whom, see `decoder.see_blocks`.
        grid: rows and columns, when a picture's positions count along both.
        deep: added to the first layers' hidden states here, each (B, n, D) (DeepStack).
    """

    tokens: Tensor
    mask: Tensor
    block: int = 0
    grid: tuple[int, int] | None = None
    deep: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequence:
    """All pieces in a row.

    Attributes:
        tokens: (B, N, D).
        mask: bool (B, N).
        blocks: int64 (N,), not falling.
        positions: int64 (B, N); along a picture's grid the larger of row and column.
        axes: int64 (3, B, N) of time, row and column (Qwen2-VL, arXiv 2409.12191); None
            without a grid.
        deep: per layer (B, N, D), zero outside of pictures; empty without DeepStack.
    """

    tokens: Tensor
    mask: Tensor
    blocks: Tensor
    positions: Tensor
    axes: Tensor | None
    deep: tuple[Tensor, ...]


def join(pieces: list[Piece], *, causal: bool) -> Sequence:
    """Put the pieces in a row.

    Args:
        pieces: in order; their blocks must not fall.
        causal: every token is a block of its own instead.
    """
    assert all(one.block <= two.block for one, two in pairwise(pieces))
    mask = torch.cat([piece.mask for piece in pieces], dim=1)
    if causal:
        blocks = torch.arange(mask.shape[1], device=mask.device)
    else:
        runs = [mask.new_full(p.mask.shape[1:], p.block, dtype=torch.int64) for p in pieces]
        blocks = torch.cat(runs)
    axes = _place(pieces)
    depth = max(len(piece.deep) for piece in pieces)
    deep = tuple(
        torch.cat([p.deep[k] if p.deep else torch.zeros_like(p.tokens) for p in pieces], dim=1)
        for k in range(depth)
    )
    return Sequence(
        tokens=torch.cat([piece.tokens for piece in pieces], dim=1),
        mask=mask,
        blocks=blocks,
        positions=axes.amax(dim=0),
        axes=axes if any(piece.grid for piece in pieces) else None,
        deep=deep,
    )


def _place(pieces: list[Piece]) -> Tensor:
    """Positions (3, B, N): words count on, a picture takes as many as its longer side."""
    cursor = pieces[0].mask.new_zeros(len(pieces[0].mask), 1, dtype=torch.int64)  # (B, 1)
    placed = []
    for piece in pieces:
        size, count = piece.mask.shape
        if piece.grid is None:
            counted = cursor + piece.mask.cumsum(dim=1) - 1
            placed.append(counted.clamp(min=0).expand(3, size, count))
            cursor = cursor + piece.mask.sum(dim=1, keepdim=True)
            continue
        rows, columns = piece.grid
        index = torch.arange(count, device=cursor.device)
        steps = torch.stack([torch.zeros_like(index), index // columns, index % columns])
        placed.append(cursor + steps[:, None])
        cursor = cursor + max(rows, columns)
    return torch.cat(placed, dim=2)
