"""A decoder-only language model of `transformers`, run over embeddings.

One function, `read`, serves every family (Llama, Gemma, SmolLM, Qwen2, Qwen3): the model's own
class does the layers, its own cache object carries keys and values, and who sees whom is an
explicit mask. What was read before is never changed: a cache grows by concatenation, so a
prefix may serve any number of continuations (and heads, and denoising steps).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from policies.backbones.interface import Geometry, Prefix
from vla.errors import ShapeError

type Layers = tuple[tuple[Tensor, Tensor], ...]


def describe(decoder: nn.Module) -> Geometry:
    """Sizes of the decoder, as heads that attend to its layers need them."""
    config = decoder.config
    heads = config.num_attention_heads
    return Geometry(
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=heads,
        key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        rope_theta=float(config.rope_parameters["rope_theta"]),
        vocabulary=config.vocab_size,
    )


def read(
    decoder: nn.Module,
    embedded: Tensor,
    visible: Tensor,
    positions: Tensor,
    past: Prefix | None = None,
    **extra: Any,
) -> tuple[Tensor, Layers]:
    """Run the decoder once.

    Args:
        decoder: a model's body, without the output layer.
        embedded: (B, n, D).
        visible: bool (B, n, N + n), row sees column; every row must see something.
        positions: int64 (B, n), or (3, B, n) for the multi-axis rotary positions of Qwen-VL.
        past: N tokens read before; left as it is.
        extra: for the decoder's `forward`.

    Returns:
        Last hidden states (B, n, D), normed, and per layer keys and values of all N + n.

    Raises:
        ShapeError: when the sequence outgrows the window of a sliding attention layer.
    """
    cache = DynamicCache(past.layers if past is not None else None)
    if past is not None and past.next is not None:
        places = past.next + torch.arange(embedded.shape[1], device=embedded.device)
        cache.layers = [WrittenLayer(key, value, places) for key, value in past.layers]
    mask: Any = visible[:, None]  # (B, 1, n, N + n): 4-D masks are taken as they are
    kinds = set(getattr(decoder.config, "layer_types", None) or ())
    if "sliding_attention" in kinds:
        window = decoder.config.sliding_window
        if visible.shape[-1] > window:
            raise ShapeError(
                f"{visible.shape[-1]} tokens do not fit the language model's attention window of "
                f"{window}; take fewer cameras, a shorter history or smaller images."
            )
        mask = dict.fromkeys(kinds, mask)  # within its window a sliding layer sees everything
    outputs = decoder(
        inputs_embeds=embedded,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        **extra,
    )
    return outputs.last_hidden_state, pair_up(cache)


class WrittenLayer(DynamicLayer):
    """Keys and values of one layer with room: new ones are put at `places`, int64 (n,)."""

    def __init__(self, keys: Tensor, values: Tensor, places: Tensor):
        super().__init__()
        self.keys, self.values, self.places = keys, values, places
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write in place; all keys and values, the room behind them included."""
        self.keys.index_copy_(2, self.places, key_states.to(self.keys.dtype))
        self.values.index_copy_(2, self.places, value_states.to(self.values.dtype))
        return self.keys, self.values


def pair_up(cache: DynamicCache) -> Layers:
    """Per layer its keys and values, of one dtype: autocast leaves rotated keys wider."""
    return tuple((layer.keys.to(layer.values.dtype), layer.values) for layer in cache.layers)


class DecoderLanguage:
    """A decoder, its output layer and its tokenizer as `interface.Language`.

    Args:
        decoder: the body.
        output: weights (vocabulary, D) of the output layer, often those of the embeddings.
        tokenizer: of transformers.
    """

    def __init__(self, decoder: nn.Module, output: Tensor, tokenizer: Any):
        self.tokenizer = tokenizer
        self._decoder = decoder
        self._output = output

    def embed(self, symbols: Tensor) -> Tensor:
        """See `Language.embed`. Gemma's embedding layer scales by sqrt(D) itself."""
        return self._decoder.get_input_embeddings()(symbols)

    def extend(
        self, embedded: Tensor, prefix: Prefix, visible: Tensor | None = None
    ) -> tuple[Tensor, Prefix]:
        """See `Language.extend`; a `prefix` without room is left as it is."""
        size, count = embedded.shape[:2]
        if visible is None:
            visible = torch.ones(count, count, dtype=torch.bool, device=embedded.device).tril()
        if prefix.next is not None:
            return self._write(embedded, prefix, visible)
        before = prefix.mask[:, None].expand(-1, count, -1)
        seen = torch.cat([before, visible.expand(size, -1, -1)], dim=2)
        positions = follow(prefix.positions, prefix.mask, count)
        dtype = self._decoder.get_input_embeddings().weight.dtype
        hidden, layers = read(self._decoder, embedded.to(dtype), seen, positions, prefix)
        real = prefix.mask.new_ones(size, count)
        longer = Prefix(
            layers=layers,
            mask=torch.cat([prefix.mask, real], dim=1),
            positions=torch.cat([prefix.positions, positions], dim=1),
        )
        return hidden, longer

    def reserve(self, prefix: Prefix, room: int) -> Prefix:
        """See `Language.reserve`."""
        end = prefix.mask.shape[1]
        return Prefix(
            layers=tuple(
                (F.pad(key, (0, 0, 0, room)), F.pad(value, (0, 0, 0, room)))
                for key, value in prefix.layers
            ),
            mask=F.pad(prefix.mask, (0, room)),
            positions=F.pad(prefix.positions, (0, room)),
            next=prefix.positions.new_full((1,), end),
        )

    def _write(self, embedded: Tensor, prefix: Prefix, visible: Tensor) -> tuple[Tensor, Prefix]:
        """`extend` within the room of a prefix."""
        size, count = embedded.shape[:2]
        places = prefix.next + torch.arange(count, device=embedded.device)
        mask = prefix.mask.index_fill(1, places, True)
        seen = prefix.mask[:, None].expand(-1, count, -1)
        seen = seen.index_copy(2, places, visible.expand(size, -1, -1))
        new = follow(prefix.positions, prefix.mask, count)
        dtype = self._decoder.get_input_embeddings().weight.dtype
        hidden, layers = read(self._decoder, embedded.to(dtype), seen, new, prefix)
        positions = prefix.positions.index_copy(1, places, new)
        return hidden, Prefix(
            layers=layers, mask=mask, positions=positions, next=prefix.next + count
        )

    def score(self, hidden: Tensor) -> Tensor:
        """See `Language.score`."""
        return F.linear(hidden.to(self._output.dtype), self._output).float()


def follow(positions: Tensor, mask: Tensor, count: int) -> Tensor:
    """The next `count` positions (B, count) after the real ones of `positions` (B, N)."""
    last = positions.masked_fill(~mask, -1).amax(dim=1, keepdim=True)
    return last + 1 + torch.arange(count, device=positions.device)


def see_blocks(blocks: Tensor, mask: Tensor) -> Tensor:
    """Who sees whom, from block numbers: a token sees its own block and those before it.

    The rule of PaLI-Gemma's prefix attention and of pi0's block-causal mask: equal numbers see
    each other, counting numbers are causal.

    Args:
        blocks: int64 (B, N), not falling along N.
        mask: bool (B, N), True where a token is real; padding is seen by nobody.

    Returns:
        bool (B, N, N), row sees column.
    """
    return (blocks[:, :, None] >= blocks[:, None, :]) & mask[:, None, :]
