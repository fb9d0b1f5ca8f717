"""Actions as words (RT-2, arXiv 2307.15818; OpenVLA, arXiv 2406.09246).

Every action scalar falls into one of a few bins; a small decoder writes the bins of the
chunk one after the other, row by row. Only bins can be written: the output layer has no
other symbol.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.backbones.interface import Context, ContextShape
from policies.heads.config import TokensConfig
from policies.heads.decoder import DecoderLayer
from policies.heads.interface import Head, average, commit
from policies.heads.tokenizers.bins import UniformBins


class TokensHead(Head):
    """See the module's docstring."""

    def __init__(self, config: TokensConfig, *, shape: ContextShape, action_dim: int, horizon: int):
        super().__init__()
        self.config = config
        self.bins = UniformBins(bins=config.bins, bound=config.bound)
        self.shape = (horizon, action_dim)
        width = config.width
        self.symbols = nn.Embedding(config.bins + 1, width)  # the last one says "begin"
        self.axis = nn.Parameter(torch.randn(action_dim, width) * 0.02)
        self.row = nn.Parameter(torch.randn(horizon, width) * 0.02)
        self.memory = nn.Linear(shape.dim, width)
        self.layers = nn.ModuleList(
            DecoderLayer(width, config.attention_heads) for _ in range(config.layers)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.bins))
        nn.init.normal_(self.symbols.weight, std=0.02)

    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Cross-entropy of each symbol given those before; `generator` is not used."""
        symbols = self.encode(actions.masked_fill(mask == 0, 0.0)).flatten(1)
        begin = torch.full_like(symbols[:, :1], self.config.bins)
        x = self.symbols(torch.cat([begin, symbols[:, :-1]], dim=1)) + self._places()
        length = x.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        memory = self.memory(context.tokens)
        for layer in self.layers:
            x = layer(x, earlier, memory, context.mask[:, None, None, :])
        error = F.cross_entropy(self.leave(x).float().transpose(1, 2), symbols, reduction="none")
        return average(error.unflatten(1, self.shape), mask)

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """Write the likeliest symbol each time; see `Head.sample`.

        Committed rows are read in place of what would have been written; `noise` and
        `tentative` are ignored.
        """
        size, axes = context.tokens.shape[0], self.shape[1]
        given = None if pending is None else self.encode(pending).flatten(1)
        memory = self.memory(context.tokens)
        known = [layer.look.project(memory) for layer in self.layers]
        past: list[tuple[Tensor, Tensor] | None] = [None] * len(self.layers)
        symbol = torch.full((size,), self.config.bins, device=memory.device)
        written, places = [], self._places()
        for index in range(self.shape[0] * axes):
            x = (self.symbols(symbol) + places[index]).unsqueeze(1)
            for depth, layer in enumerate(self.layers):
                x, past[depth] = layer.write(
                    x, past[depth], known[depth], context.mask[:, None, None, :]
                )
            if given is not None and index < given.shape[1]:
                symbol = given[:, index]
            else:
                symbol = self.leave(x[:, 0]).argmax(dim=-1)
            written.append(symbol)
        rows = self.decode(torch.stack(written, dim=1)).unflatten(1, self.shape)
        return commit(rows, pending)

    def encode(self, actions: Tensor) -> Tensor:
        """Bin numbers int64 of normalised actions; values beyond the bound saturate."""
        return self.bins.quantize(actions)

    def decode(self, symbols: Tensor) -> Tensor:
        """Centres float32 of the bins; off by half a bin at most within the bound."""
        return self.bins.restore(symbols)

    def _places(self) -> Tensor:
        """Embeddings (H * A, width) of row and axis."""
        return (self.row.unsqueeze(1) + self.axis).flatten(0, 1)
