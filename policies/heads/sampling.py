"""From noise to a chunk that goes on from the last plan.

Three ways to go on, after how much the head knows of the last plan:

- rows that are committed are held at the noise of each step (inpainting), or, by a network
  trained for it, given clean (training-time real-time chunking, arXiv 2512.05964);
- rows that are wanted pull the plan towards them (real-time chunking, Black et al.,
  arXiv 2506.07339, after Song et al.'s pseudo-inverse guidance): the estimate a of the clean
  chunk moves by k J^T W (y - a), where J is the derivative of a by the noisy chunk x. It takes
  the true vector-Jacobian product through the network: with J = 1 only the wanted rows
  themselves would move, and the ones behind them would not follow.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from policies.heads.interface import commit
from policies.heads.noising import Level, Process, split

Answer = Callable[[Tensor, Tensor], Tensor]
"""A network's answer (B, H, A) to noisy rows (B, H, A) at times (B,), or (B, H) row by row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seam:
    """How plans are joined to the last one.

    Attributes:
        mask: how the pull of wanted rows fades: "zeros" (none: only committed rows pull),
            "ones" (not at all), "linear", or "exp", which falls faster.
        limit: most that the pull may count by (beta in the paper); 0: nothing is wanted.
        trained: the network was trained with clean committed rows.
    """

    mask: str = "exp"
    limit: float = 5.0
    trained: bool = False


def denoise(
    answer: Answer,
    noise: Tensor,
    pending: Tensor | None,
    tentative: Tensor | None = None,
    *,
    process: Process,
    seam: Seam,
    clip: float = 0.0,
) -> Tensor:
    """Walk from `noise` (B, H, A) to a chunk.

    Args:
        answer: the network. With wanted rows, all that it reads must allow autograd.
        noise: standard normal.
        pending: (B, K, A) committed rows; they come back as they are.
        tentative: (B, M, A), K + M <= H, wanted rows behind them.
        process: the path.
        seam: what becomes of the rows of the last plan.
        clip: bound on the clean chunk at each step, 0 for none.
    """
    wanted = None
    if tentative is not None and tentative.shape[1] and seam.limit > 0:
        wanted = _join(noise, pending, tentative)
        weights = _weigh(noise, pending, tentative, seam)
    x, size = noise, noise.shape[0]
    for level, after in pairwise(process.walk()):
        time = noise.new_full((size,), level.time)
        if pending is not None and seam.trained:
            x = commit(x, pending)
            time = time.unsqueeze(1).repeat(1, x.shape[1])
            time[:, : pending.shape[1]] = process.clean
        elif pending is not None and wanted is None:
            x = commit(x, level.mix(pending, noise[:, : pending.shape[1]]))
        if wanted is None:
            clean, left = split(process.prediction, answer(x, time), x, level)
        else:
            clean, left = _pull(answer, x, time, level, wanted, weights, process, seam.limit)
        if clip > 0:
            clean = clean.clamp(-clip, clip)
        x = after.mix(clean, left)
    return commit(x, pending)


def fade(mask: str, committed: int, wanted: int, horizon: int) -> list[float]:
    """Weight of each of the H rows: 1 for the committed ones, then falling, then 0.

    The ramp is c = (K - 1 - i) / (M + 1) + 1 for row i; "exp" makes it c (e^c - 1) / (e - 1).
    """
    end = committed + wanted
    weights = []
    for row in range(horizon):
        ramp = min(max((committed - 1 - row) / (wanted + 1) + 1, 0.0), 1.0)
        shapes = {
            "zeros": 0.0,
            "ones": 1.0,
            "linear": ramp,
            "exp": ramp * math.expm1(ramp) / math.expm1(1),
        }
        weights.append(1.0 if row < committed else shapes[mask] if row < end else 0.0)
    return weights


def _join(noise: Tensor, pending: Tensor | None, tentative: Tensor) -> Tensor:
    """The last plan's rows at their places, 0 behind them: (B, H, A)."""
    rows = [tentative] if pending is None else [pending, tentative]
    known = torch.cat(rows, dim=1)
    rest = noise.shape[1] - known.shape[1]
    return torch.nn.functional.pad(known, (0, 0, 0, rest)).to(noise.dtype)


def _weigh(noise: Tensor, pending: Tensor | None, tentative: Tensor, seam: Seam) -> Tensor:
    committed = 0 if pending is None else pending.shape[1]
    weights = fade(seam.mask, committed, tentative.shape[1], noise.shape[1])
    if seam.trained:  # the network is not asked for rows that it is given
        weights[:committed] = [0.0] * committed
    return noise.new_tensor(weights).view(1, -1, 1)


def _pull(
    answer: Answer,
    x: Tensor,
    time: Tensor,
    level: Level,
    wanted: Tensor,
    weights: Tensor,
    process: Process,
    limit: float,
) -> tuple[Tensor, Tensor]:
    """The clean chunk and the noise in `x`, drawn towards the wanted rows.

    On the straight path this is the paper's v + min(beta, (t^2 + s^2) / (t s)) J^T W (y - a),
    s = 1 - t; on any path (t, s) = (alpha, sigma) is the posterior of standard normal data.
    """
    alpha, sigma = float(level.alpha), float(level.sigma)
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        clean, _ = split(process.prediction, answer(leaf, time), leaf, level)
        error = weights * (wanted - clean.detach())
        (pull,) = torch.autograd.grad(clean, leaf, error)
    power, cross = alpha**2 + sigma**2, alpha * sigma
    strength = limit if power >= limit * cross else power / cross
    clean = clean.detach() + sigma * strength * pull
    return clean, (x - alpha * clean) / sigma
