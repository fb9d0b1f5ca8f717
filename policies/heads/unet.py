"""Diffusion Policy's network (Chi et al., arXiv 2303.04137): a U-Net of convolutions over time.

Rows are channels over time; going down, each level halves their number and widens them, going
up takes what was there before back in. Time and the summary of the context scale and shift the
channels of every block (FiLM). Neighbouring rows share weights, which makes for smooth plans.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.backbones.interface import Context
from policies.heads.config_denoisers import UnetConfig
from policies.heads.denoiser import encode_time, zeros
from policies.heads.interface import summarize


class Unet(nn.Module):
    """Conditional 1-D U-Net; the last layer starts at zero.

    `inputs` is the width A of noisy rows, or A + 1 for a `Flagged` one.
    """

    def __init__(self, config: UnetConfig, *, context_dim: int, inputs: int, action_dim: int):
        super().__init__()
        widths, time = config.widths, config.time_width
        condition = time + context_dim * max(1, config.readouts)
        self.time_width, self.readouts = time, config.readouts
        self.clock = nn.Sequential(nn.Linear(time, 4 * time), nn.Mish(), nn.Linear(4 * time, time))

        def pair(enter: int, leave: int) -> nn.ModuleList:
            return nn.ModuleList(
                FilmBlock(before, leave, condition, config.kernel, config.groups)
                for before in (enter, leave)
            )

        self.down = nn.ModuleList(map(pair, [inputs, *widths[:-1]], widths))
        self.shrink = nn.ModuleList(nn.Conv1d(width, width, 3, 2, 1) for width in widths[:-1])
        self.middle = pair(widths[-1], widths[-1])
        # What comes from below and what comes from beside, then half as wide.
        upward = list(reversed(widths))
        self.up = nn.ModuleList(pair(2 * wide, narrow) for wide, narrow in pairwise(upward))
        self.grow = nn.ModuleList(nn.ConvTranspose1d(width, width, 4, 2, 1) for width in upward[1:])
        self.leave = nn.Sequential(
            *convolve(widths[0], widths[0], config.kernel, config.groups),
            zeros(nn.Conv1d(widths[0], action_dim, 1)),
        )

    def forward(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        """Noisy rows (B, H, inputs) at `time` (B,) to an answer float32 (B, H, A)."""
        rows = x.shape[1]
        # Every level halves the rows, so their number is made a multiple; the last one repeats.
        x = F.pad(x.transpose(1, 2), (0, -rows % 2 ** len(self.shrink)), mode="replicate")
        seen = summarize(context, self.readouts).flatten(1)
        condition = torch.cat([self.clock(encode_time(time, self.time_width)), seen], dim=1)
        beside = []
        for depth, blocks in enumerate(self.down):
            for block in blocks:
                x = block(x, condition)
            beside.append(x)
            if depth < len(self.shrink):
                x = self.shrink[depth](x)
        for block in self.middle:
            x = block(x, condition)
        for blocks, grow in zip(self.up, self.grow, strict=True):
            x = torch.cat([x, beside.pop()], dim=1)
            for block in blocks:
                x = block(x, condition)
            x = grow(x)
        return self.leave(x)[..., :rows].transpose(1, 2).float()


class FilmBlock(nn.Module):
    """Two convolutions, scaled and shifted by the condition between them, and a short way past."""

    def __init__(self, enter: int, leave: int, condition: int, kernel: int, groups: int):
        super().__init__()
        self.first = convolve(enter, leave, kernel, groups)
        self.film = nn.Sequential(nn.Mish(), nn.Linear(condition, 2 * leave))
        self.second = convolve(leave, leave, kernel, groups)
        self.past = nn.Conv1d(enter, leave, 1) if enter != leave else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Channels over time (B, enter, N) to (B, leave, N)."""
        scale, shift = self.film(condition).unsqueeze(-1).chunk(2, dim=1)
        return self.second(self.first(x) * scale + shift) + self.past(x)


def convolve(enter: int, leave: int, kernel: int, groups: int) -> nn.Sequential:
    """Convolution that keeps the length, group norm, Mish."""
    return nn.Sequential(
        nn.Conv1d(enter, leave, kernel, padding=kernel // 2),
        nn.GroupNorm(groups, leave),
        nn.Mish(),
    )
