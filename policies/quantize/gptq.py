"""GPTQ: 4-bit codes that make up for each other's rounding (Frantar et al., arXiv:2210.17323)."""

import torch
from torch import Tensor

from policies.quantize.linears import Int4WeightLinear

_DAMPING = 0.01  # of the mean diagonal, as in the paper


def encode_gptq(layer: Int4WeightLinear, weight: Tensor, rows: Tensor) -> None:
    """Fill `layer` so that its outputs on `rows` are near those of `weight`.

    Columns are rounded one after the other; what a column loses is added to those not yet
    rounded, in proportions from the inverse Hessian of the layer's squared error (their
    algorithm 1, without lazy batches). Scales are those of plain rounding, group by group.

    Args:
        layer: gets scales and codes.
        weight: float32 (N, K).
        rows: float32 (M, K), inputs.
    """
    layer.fit(weight)
    hessian = rows.T.double() @ rows.double()
    diagonal = hessian.diagonal()
    silent = diagonal == 0  # never fed: these columns change nothing
    diagonal[silent] = 1.0
    diagonal += _DAMPING * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    upper = torch.linalg.cholesky(inverse, upper=True).float()
    left = weight.clone()
    codes = torch.empty_like(weight)
    for k in range(weight.shape[1]):
        column = left[:, k : k + 1]
        codes[:, k : k + 1] = layer.round(column, k)
        lost = (column - layer.values(codes[:, k : k + 1], k)) / upper[k, k]
        left[:, k + 1 :] -= lost @ upper[k : k + 1, k + 1 :]
    layer.store(codes)
