"""Which words of a language model stand for action symbols."""

from typing import Any

import torch
from torch import Tensor

from policies.heads.tokenizers.bins import EdgeBins
from vla.errors import ConfigError

WORDS = ("last", "rare", "integers")


class Digits(EdgeBins):
    """OpenVLA's edges with symbols of their own: digit d of 1 to `bins` is symbol d - 1."""

    def __init__(self, *, bins: int = 256):
        super().__init__(words=bins, bins=bins)

    def quantize(self, actions: Tensor) -> Tensor:
        """Symbols int64 of normalised actions of any shape."""
        return self.bins - 1 - super().quantize(actions)

    def restore(self, symbols: Tensor) -> Tensor:
        """Centres float32 of symbols; the last two share one."""
        return super().restore(self.bins - 1 - symbols)


def assign_words(how: str, tokenizer: Any, count: int, *, skip: int = 0) -> Tensor:
    """Token ids int64 (S,) of symbols 0 to S - 1.

    Args:
        how: "last": from the vocabulary's end downwards, special tokens not counted as its end
            (pi0-FAST; OpenVLA, whose digit d of 1 to 256 is symbol d - 1); "rare": the same,
            but special tokens are stepped over (RT-2 on PaLM-E; vocabularies are sorted by
            frequency); "integers": the tokens that read "0", "1", ... (RT-2 on PaLI-X).
        tokenizer: of transformers.
        count: how many symbols S.
        skip: words at the end that stay as they are (pi0-FAST: 128).

    Raises:
        ConfigError: when the vocabulary has no room, or splits an integer.
    """
    if how == "integers":
        return torch.tensor([_find(tokenizer, str(number)) for number in range(count)])
    if how == "last":
        ids = list(range(tokenizer.vocab_size))
    else:
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        ids = [word for word in range(tokenizer.vocab_size) if word not in special]
    if skip + count > len(ids):
        raise ConfigError(
            f"{count} action symbols behind {skip} skipped words do not fit a vocabulary of "
            f"{len(ids)}; take fewer bins or a smaller FAST vocabulary."
        )
    end = len(ids) - skip
    return torch.tensor(ids[end - count : end]).flip(0)


def spell_text(tokenizer: Any, text: str) -> list[int]:
    """Token ids of `text`, nothing put around it."""
    return list(tokenizer(text, add_special_tokens=False).input_ids) if text else []


def _find(tokenizer: Any, text: str) -> int:
    """The one word that reads `text`; some tokenizers put a word boundary before it."""
    ids = spell_text(tokenizer, text)
    if len(ids) == 2 and not tokenizer.decode(ids[:1]).strip():
        ids = ids[1:]
    if len(ids) != 1:
        raise ConfigError(
            f"This language model has no single word for {text!r} but {len(ids)}; take "
            "policy.head.words=last or rare, or fewer bins."
        )
    return ids[0]
