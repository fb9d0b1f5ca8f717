"""Text that a policy writes: answers to questions, and plans before it acts.

    prefix ──▶ [words of the reply] [end] ──▶ longer prefix ──▶ head

The reply is written by the backbone's own language model, over its whole vocabulary. Without
new weights, a policy so keeps what it knows from pictures and text (RT-2's co-fine-tuning,
arXiv 2307.15818), and thinks before it acts (its chain-of-thought variant).

Legend: B samples, L words of the longest reply, D width.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.backbones.interface import Context, Language
from vla.errors import ConfigError

_IGNORED = -100  # of torch's cross-entropy


def find_language(context: Context) -> Language:
    """The context's language model. Raises ConfigError without one."""
    if context.language is None or context.prefix is None:
        raise ConfigError(
            "Words are to be written, but the backbone offers no language model or no prefix to "
            "go on behind; take one with a language model, e.g. policy/backbone=smolvlm."
        )
    return context.language


def read_replies(
    context: Context, replies: list[str] | None, *, planned: bool
) -> tuple[Tensor | None, Context]:
    """The text loss, and the context that the head is to see.

    Args:
        context: of B observations.
        replies: B texts to be written, "" for none.
        planned: the head reads the replies; a sample without one has an empty plan, which is
            trained too: to end at once.

    Returns:
        Cross-entropy of the words, the mean over all of them, or None when there is none; and
        the longer context, or without plans the same.

    Raises:
        ConfigError: for words without a language model.
    """
    if replies is None and planned:
        replies = [""] * len(context.mask)
    if not replies or not (planned or any(replies)):
        return None, context
    error, longer = read(context, replies, always=planned)
    return error, longer if planned else context


def read(context: Context, replies: list[str], *, always: bool = False) -> tuple[Tensor, Context]:
    """Read B replies, each behind its own context.

    Args:
        context: of B observations.
        replies: what is written; "" is nothing, not even an end, unless `always`.
        always: every reply has an end.

    Returns:
        Mean cross-entropy of all words, and the context with the replies read; replies shorter
        than the longest are padded, which nobody sees.
    """
    language = find_language(context)
    device = context.mask.device
    tokenizer = language.tokenizer
    rows = [
        [*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        if text or always
        else []
        for text in replies
    ]
    width = max(map(len, rows))
    written = torch.zeros(len(rows), width, dtype=torch.int64, device=device)
    real = torch.zeros(len(rows), width, dtype=torch.bool, device=device)
    for index, row in enumerate(rows):
        written[index, : len(row)] = torch.tensor(row, dtype=torch.int64, device=device)
        real[index, : len(row)] = True
    hidden, longer = _go_on(context, written, real)
    told = torch.cat([context.last().to(hidden.dtype), hidden[:, :-1]], dim=1)
    logits = language.score(told).transpose(1, 2)  # (B, V, L)
    targets = written.masked_fill(~real, _IGNORED)
    return F.cross_entropy(logits, targets, ignore_index=_IGNORED), longer


def write(context: Context, *, words: int) -> tuple[list[str], Context]:
    """Write the likeliest next word until the end, or `words` of them.

    Args:
        context: of B observations.
        words: at least 1.

    Returns:
        B texts, and the context with them read.
    """
    language = find_language(context)
    end = language.tokenizer.eos_token_id
    ended = torch.zeros(len(context.mask), dtype=torch.bool, device=context.mask.device)
    columns = []
    for _ in range(words):
        word = language.score(context.last())[:, 0].argmax(dim=1)  # (B,)
        word = torch.where(ended, torch.full_like(word, end), word)
        columns.append(word)
        _, context = _go_on(context, word[:, None], ~ended[:, None])
        ended = ended | (word == end)
        if bool(ended.all()):
            break
    lines = torch.stack(columns, dim=1).tolist()
    kept = [line[: line.index(end)] if end in line else line for line in lines]
    decode = language.tokenizer.decode
    return [decode(line, skip_special_tokens=True).strip() for line in kept], context


def _go_on(context: Context, words: Tensor, real: Tensor) -> tuple[Tensor, Context]:
    """Read `words` int64 (B, L) where `real` (B, L): hidden states (B, L, D), longer context.

    The summary vector and readouts stay those of the observation alone.
    """
    language = find_language(context)
    assert context.prefix is not None
    hidden, prefix = language.extend(language.embed(words), context.prefix)
    # `extend` takes all for real; padding stands behind real words, so none of them saw it
    mask = torch.cat([context.prefix.mask, real], dim=1)
    return hidden, replace(
        context,
        tokens=torch.cat([context.tokens, hidden.to(context.tokens.dtype)], dim=1),
        mask=torch.cat([context.mask, real], dim=1),
        prefix=replace(prefix, mask=mask),
    )
