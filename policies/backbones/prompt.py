"""The words around the pictures: templates, the state as text, and padding in buckets."""

from typing import Any

import torch
from torch import Tensor

from policies.backbones.interface import Words
from policies.backbones.word_pieces import NUMBERS
from vla.errors import ConfigError, ShapeError


class Prompt:
    """Writes the prompts of one model.

    Args:
        template: text with "{images}" once and "{instruction}"; "{bos}" is the tokenizer's
            first token, "{state}" the state as numbers.
        tokenizer: of transformers.
        bucket: lengths are rounded up to a multiple of it, so that shapes stay few.
        lower: the instruction in lower case, without blanks and full stops around it.

    Raises:
        ConfigError: for a template without the pictures or the instruction.
    """

    def __init__(self, template: str, tokenizer: Any, *, bucket: int, lower: bool = False):
        if template.count("{images}") != 1 or "{instruction}" not in template:
            raise ConfigError(
                f"prompt {template!r} needs {{images}} once and {{instruction}}; also known are "
                "{bos} and {state}."
            )
        self.before, self.after = template.split("{images}")
        self.tokenizer = tokenizer
        self.bucket = bucket
        self.lower = lower

    def write(self, texts: list[str], state: Tensor | None) -> tuple[Words, Words]:
        """What stands before the pictures and what stands behind them, on the CPU.

        Args:
            texts: B instructions.
            state: float32 (B, T, S), normalised, for "{state}"; None when it is not written.

        Raises:
            ShapeError: when an instruction contains one of the tokenizer's special tokens,
                which would break out of the prompt.
        """
        for text in texts:
            for token in self.tokenizer.all_special_tokens:
                if token in text:
                    raise ShapeError(f"The instruction {text!r} contains the token {token!r}.")
        if self.lower:
            texts = [text.strip().rstrip(".").lower() for text in texts]
        numbers = [""] * len(texts) if state is None else digits(state)
        return self._tokenize(self.before, texts, numbers), self._tokenize(
            self.after, texts, numbers
        )

    def _tokenize(self, template: str, texts: list[str], numbers: list[str]) -> Words:
        filled = template.replace("{bos}", self.tokenizer.bos_token or "")
        rows = [
            self.tokenizer(
                # the instruction last: whatever it holds stays as it is
                filled.replace("{state}", number).replace("{instruction}", text),
                add_special_tokens=False,
            ).input_ids
            for text, number in zip(texts, numbers, strict=True)
        ]
        varies = "{instruction}" in template or "{state}" in template
        return pad(rows, self.tokenizer.pad_token_id or 0, self.bucket if varies else 1)


def pad(rows: list[list[int]], filler: int, bucket: int) -> Words:
    """Lists of ids to one table, its width a multiple of `bucket`."""
    longest = max(len(row) for row in rows)
    width = -(-longest // bucket) * bucket
    ids = torch.full((len(rows), width), filler, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[index, : len(row)] = True
    return Words(ids=ids, mask=mask)


def digits(state: Tensor) -> list[str]:
    """The state as words: 256 even bins over [-1, 1], their numbers with blanks between.

    pi0.5 (arXiv 2504.16054; openpi's PaligemmaTokenizer). Values beyond the ends saturate.

    Args:
        state: float32 (B, T, S), normalised.

    Returns:
        B strings of T * S numbers, oldest step first.
    """
    bins = ((state.flatten(1).float() + 1) / 2 * NUMBERS).floor().clamp(0, NUMBERS - 1)
    return [" ".join(str(int(value)) for value in row) for row in bins.tolist()]
