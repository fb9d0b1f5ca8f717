"""Flow matching for heads that bring their own velocity field."""

from torch import Tensor

from policies.heads.noising import Flow
from policies.heads.sampling import Answer, Seam, denoise


def integrate(
    velocity: Answer,
    noise: Tensor,
    pending: Tensor | None,
    *,
    steps: int,
    tentative: Tensor | None = None,
    seam: Seam | None = None,
) -> Tensor:
    """Follow `velocity` from `noise` (B, H, A) at t = 0 to t = 1 by Euler; see `denoise`."""
    process = Flow(steps=steps)
    return denoise(velocity, noise, pending, tentative, process=process, seam=seam or Seam())
