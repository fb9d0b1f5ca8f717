"""A few codes per chunk: a residual vector quantizer (VQ-BeT, arXiv 2403.03181).

A small network writes a chunk as a vector z; the first codebook's nearest entry stands for z,
the second one's for what is left of it, and so on; another network reads the sum. Everything
learns by gradients: codes move towards what they stand for, z towards its codes (van den Oord
et al., arXiv 1711.00937, which is also the source of the weight 0.25), so that the loss stays a
function of weights and batch. `revive` is for loops that may do more.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.heads.interface import average
from policies.heads.tokenizers.interface import Decoded

_COMMITMENT = 0.25


class ResidualQuantizer(nn.Module):
    """See the module's docstring; keeps `policies.heads.tokenizers.interface.Tokenizer`.

    A symbol is level * codes + code, one per level.

    Args:
        horizon, axes: H and A of the chunks.
        width: of the two networks.
        latent: of z.
        levels, codes: how many codebooks, and entries of each.
    """

    def __init__(
        self, *, horizon: int, axes: int, width: int, latent: int, levels: int, codes: int
    ):
        super().__init__()
        self.shape, self.vocabulary = (horizon, axes), levels * codes
        self.write = _network(horizon * axes, width, latent)
        self.read = _network(latent, width, horizon * axes)
        # Each level has less left to tell.
        size = torch.arange(levels).view(-1, 1, 1)
        self.books = nn.Parameter(torch.randn(levels, codes, latent) * 0.5**size / latent**0.5)

    def encode_latent(self, actions: Tensor) -> Tensor:
        """Z float32 (B, latent) of chunks (B, H, A)."""
        return self.write(actions.flatten(1).float())

    def pick(self, z: Tensor) -> Tensor:
        """The nearest codes, one level after the other: int64 (B, levels)."""
        left, picked = z.detach(), []
        for book in self.books.detach():
            picked.append(torch.cdist(left, book).argmin(dim=1))
            left = left - book[picked[-1]]
        return torch.stack(picked, dim=1)

    def look_up(self, codes: Tensor) -> Tensor:
        """The sum of the entries (B, latent) that codes (B, levels) name."""
        return torch.stack([self.books[k][codes[:, k]] for k in range(codes.shape[1])]).sum(dim=0)

    def restore(self, z: Tensor) -> Tensor:
        """The chunk float32 (B, H, A) that z stands for."""
        return self.read(z).unflatten(1, self.shape)

    def loss(self, actions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Error (B,) of what comes back, with the codes' own losses, and the codes (B, levels).

        `actions` (B, H, A) are zeros where `mask` (B, H, A) is 0; a sample of padding only
        costs nothing.
        """
        z = self.encode_latent(actions)
        codes = self.pick(z)
        entry = self.look_up(codes)
        straight = z + (entry - z).detach()  # the gradient goes past the choice
        error = average((self.restore(straight) - actions).abs(), mask)
        real = (mask > 0).any(dim=2).any(dim=1)
        follow = (entry - z.detach()).square().sum(dim=1)
        commit = (entry.detach() - z).square().sum(dim=1)
        return error + real * (follow + _COMMITMENT * commit), codes

    @torch.no_grad()
    def revive(self, actions: Tensor, *, generator: torch.Generator) -> int:
        """Move codes that stand for none of the chunks (N, H, A) to some that they could.

        Returns:
            How many were moved.
        """
        left, moved = self.encode_latent(actions), 0
        for book in self.books:
            picked = torch.cdist(left, book).argmin(dim=1)
            dead = torch.bincount(picked, minlength=len(book)) == 0
            count = int(dead.sum())
            rows = torch.randint(len(left), (count,), generator=generator)
            book[dead] = left[rows.to(left.device)]
            left, moved = left - book[torch.cdist(left, book).argmin(dim=1)], moved + count
        return moved

    @torch.no_grad()
    def encode(self, actions: Tensor) -> list[list[int]]:
        """See `Tokenizer.encode`."""
        codes = self.pick(self.encode_latent(actions))
        return (codes + self._first_symbols(codes)).tolist()

    @torch.no_grad()
    def decode(self, sequences: Sequence[Sequence[int]], *, horizon: int, axes: int) -> Decoded:
        """See `Tokenizer.decode`; levels behind the first flaw are left out of the sum.

        Raises:
            ValueError: for another shape than it was made for.
        """
        if (horizon, axes) != self.shape:
            raise ValueError(f"The codes stand for chunks of {self.shape}, not {(horizon, axes)}.")
        levels, codes, _ = self.books.shape
        z = self.books.new_zeros(len(sequences), self.books.shape[2])
        valid = torch.zeros(len(sequences), dtype=torch.bool)
        for index, sequence in enumerate(sequences):
            good = 0
            for level, symbol in enumerate(sequence[:levels]):
                if not 0 <= symbol - level * codes < codes:
                    break
                z[index] += self.books[level, symbol - level * codes]
                good += 1
            valid[index] = good == len(sequence) == levels
        return Decoded(actions=self.restore(z).cpu(), valid=valid)

    def _first_symbols(self, codes: Tensor) -> Tensor:
        return torch.arange(codes.shape[1], device=codes.device) * self.books.shape[1]


def fit_quantizer(
    chunks: Tensor,
    *,
    steps: int,
    width: int = 128,
    latent: int = 64,
    levels: int = 2,
    codes: int = 16,
    batch: int = 256,
    seed: int = 0,
) -> ResidualQuantizer:
    """Train a quantizer on normalised chunks (N, H, A) by Adam, reviving idle codes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        quantizer = ResidualQuantizer(
            horizon=chunks.shape[1],
            axes=chunks.shape[2],
            width=width,
            latent=latent,
            levels=levels,
            codes=codes,
        )
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=1e-3)
    for step in range(steps):
        rows = chunks[torch.randint(len(chunks), (batch,), generator=generator)]
        if step % 50 == 0 and step < steps / 2:
            quantizer.revive(rows, generator=generator)
        loss, _ = quantizer.loss(rows, torch.ones_like(rows))
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    return quantizer


def focal_loss(logits: Tensor, codes: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Cross-entropy (B, levels) of logits (B, levels, codes), the less the surer (1708.02002)."""
    error = F.cross_entropy(logits.float().transpose(1, 2), codes, reduction="none")
    return (1 - (-error).exp()) ** gamma * error


def _network(enter: int, width: int, leave: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(enter, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
        nn.Linear(width, leave),
    )  # fmt: skip
