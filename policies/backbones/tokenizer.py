"""Words to numbers without a vocabulary file: hashing (Weinberger et al., 2009)."""

import re
from zlib import crc32

import torch
from torch import Tensor

_WORD = re.compile(r"[^\W_]+|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Lower-cased words and punctuation marks, in order."""
    return _WORD.findall(text.lower())


def hash_words(texts: list[str], *, words: int, buckets: int) -> tuple[Tensor, Tensor]:
    """Two bucket numbers per word, from different digits of its CRC-32.

    Two words share both buckets with probability 1 / buckets**2 only, so the sum of two
    table rows names a word almost surely, at the size of two small tables
    (Svenstrup et al., "Hash Embeddings", 2017).

    Args:
        texts: B instructions.
        words: longest instruction; what follows is cut.
        buckets: rows per table.

    Returns:
        ids int64 (B, words, 2), and mask bool (B, words), True where there is a word. The
        first position of every row is real, also for an empty instruction.
    """
    ids = torch.zeros(len(texts), words, 2, dtype=torch.int64)
    mask = torch.zeros(len(texts), words, dtype=torch.bool)
    for row, text in enumerate(texts):
        found = split_words(text)[:words] or [""]
        hashes = [crc32(word.encode()) for word in found]
        pairs = [(value % buckets, value // buckets % buckets) for value in hashes]
        ids[row, : len(pairs)] = torch.tensor(pairs)
        mask[row, : len(pairs)] = True
    return ids, mask
