"""Actions as words of the language model itself (RT-2, OpenVLA, pi0-FAST).

The chunk becomes symbols, symbols become words of the vocabulary, and the language model goes
on writing behind its prefix. There is nothing new to learn from scratch: this head has no
weights. What it writes is constrained: only words that stand for symbols can be chosen.

    prefix ──▶ [begin text] [word of row 0, axis 0] [row 0, axis 1] ... [end, if lengths differ]

A plan in words before the actions (RT-2's chain of thought) is written by the policy: this head
then gets a longer prefix, see `policies.speech`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.backbones.interface import Context, ContextShape, Language, Prefix
from policies.heads.config_language import WordsConfig, require_language
from policies.heads.interface import Head, commit
from policies.heads.tokenizers.interface import Tokenizer
from policies.heads.words_vocabulary import assign_words, spell_text
from policies.speech import find_language
from vla.errors import ConfigError

_IGNORED = -100  # of torch's cross-entropy


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """What is written with.

    Attributes:
        ids: int64 (S,), word of each symbol.
        begin: int64 (n,), words before the first symbol.
        end: the word that ends a chunk, or -1 where all chunks have the same length.
    """

    ids: Tensor
    begin: Tensor
    end: int


class WordsHead(Head):
    """See the module's docstring.

    Args:
        config: which words, and how they are chosen.
        tokenizer: chunks to symbols. One symbol per scalar, row by row, unless `config.end`
            says that lengths differ.
        shape: of the context.
        action_dim, horizon: of the chunks.

    Raises:
        ConfigError: for a backbone without a language model, and, once its tokenizer is seen,
            when its vocabulary has no room for the symbols.
    """

    def __init__(
        self,
        config: WordsConfig,
        *,
        tokenizer: Tokenizer,
        shape: ContextShape,
        action_dim: int,
        horizon: int,
    ):
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.rows, self.geometry = (horizon, action_dim), require_language(config, shape)
        self._vocabulary: Vocabulary | None = None

    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Cross-entropy of each action word over the whole vocabulary, given those before.

        Where one word is one scalar, the mean over the real ones; else over all words of a
        chunk, whose padding holds the last real row. `generator` is not used.
        """
        language = find_language(context)
        vocabulary = self._look_up(language, actions.device)
        free = vocabulary.end >= 0
        sequences = self.tokenizer.encode(hold(actions, mask) if free else fill(actions, mask))
        words = [vocabulary.ids[torch.tensor(line, device=actions.device)] for line in sequences]
        if free:
            words = [F.pad(line, (0, 1), value=vocabulary.end) for line in words]
        # Padding behind a chunk's end is read, but by no word that counts.
        written = torch.nn.utils.rnn.pad_sequence(words, batch_first=True, padding_value=0)
        lengths = torch.tensor([len(line) for line in words], device=actions.device)
        counted = torch.arange(written.shape[1], device=actions.device) < lengths.unsqueeze(1)
        counted &= (mask > 0).flatten(1).any(1, keepdim=True) if free else (mask > 0).flatten(1)
        targets = written.masked_fill(~counted, _IGNORED)
        hidden = self._read_all(context, language, vocabulary, written[:, :-1])
        logits = language.score(hidden).transpose(1, 2)  # (B, V, L)
        error = F.cross_entropy(logits, targets, ignore_index=_IGNORED, reduction="none")
        return error.sum(dim=1) / counted.sum(dim=1).clamp(min=1)

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """Write word by word, each time the likeliest legal one. See `Head.sample`.

        With `config.temperature` each word is drawn with the uniform number that is the normal
        distribution function of one entry of `noise`. Committed rows are read in place of what
        would have been written where one word is one scalar; in words over frequencies (FAST)
        rows have no place of their own, so there they only overwrite the result. `tentative`
        is ignored.
        """
        language = find_language(context)
        vocabulary = self._look_up(language, noise.device)
        free = vocabulary.end >= 0
        given = noise.new_zeros(len(noise), 0, dtype=torch.int64)
        if pending is not None and not free:
            given = self.tokenizer.quantize(pending).flatten(1)
        last, prefix = self._open(context, language, vocabulary, vocabulary.ids[given])
        prefix = language.reserve(prefix, noise[0].numel() - given.shape[1])
        legal = F.pad(vocabulary.ids, (0, 1), value=vocabulary.end) if free else vocabulary.ids
        stop = len(vocabulary.ids)  # index of the end among the legal words
        chance = torch.special.ndtr(noise.float()).flatten(1)  # (B, H * A)
        ended = torch.zeros(len(noise), dtype=torch.bool, device=noise.device)
        symbols = [*given.unbind(dim=1)]
        longest = chance.shape[1]
        while len(symbols) < longest:
            scores = language.score(last)[:, -1].index_select(1, legal)
            symbol = self._choose(scores, chance[:, len(symbols)])
            symbol = torch.where(ended, torch.full_like(symbol, stop), symbol)
            symbols.append(symbol)
            ended |= symbol == stop
            # Only where lengths differ is it worth waiting for the device at each word.
            if len(symbols) == longest or (free and bool(ended.all())):
                break
            last, prefix = language.extend(language.embed(legal[symbol].unsqueeze(1)), prefix)
        if not free:
            told = self.tokenizer.restore(torch.stack(symbols, 1)).unflatten(1, self.rows)
            return commit(told, pending)
        lines = [[s for s in line if s != stop] for line in torch.stack(symbols, 1).tolist()]
        horizon, axes = self.rows
        decoded = self.tokenizer.decode(lines, horizon=horizon, axes=axes)
        return commit(decoded.actions.to(noise.device), pending)

    def _choose(self, scores: Tensor, chance: Tensor) -> Tensor:
        """Index int64 (B,) of one of the legal words, by their scores (B, S)."""
        if self.config.temperature == 0:
            return scores.argmax(dim=1)
        shares = (scores.double() / self.config.temperature).softmax(dim=1).cumsum(dim=1)
        return (shares < chance.unsqueeze(1)).sum(dim=1).clamp(max=scores.shape[1] - 1)

    def _open(
        self, context: Context, language: Language, vocabulary: Vocabulary, given: Tensor
    ) -> tuple[Tensor, Prefix]:
        """What the first free word is told by, (B, 1, D), and the prefix up to there.

        `given` int64 (B, n) are words to be read behind the begin text.
        """
        assert context.prefix is not None
        opening = torch.cat([vocabulary.begin.expand(len(given), -1), given], dim=1)
        if opening.shape[1] == 0:
            return context.last(), context.prefix
        hidden, prefix = language.extend(language.embed(opening), context.prefix)
        return hidden[:, -1:], prefix

    def _read_all(
        self, context: Context, language: Language, vocabulary: Vocabulary, words: Tensor
    ) -> Tensor:
        """Hidden states (B, n + 1, D) that tell each of n + 1 words, given those before it."""
        assert context.prefix is not None
        begin = vocabulary.begin
        read = torch.cat([begin.expand(len(words), -1), words], dim=1)
        if read.shape[1] == 0:
            return context.last()
        hidden, _ = language.extend(language.embed(read), context.prefix)
        if len(begin):
            return hidden[:, len(begin) - 1 :]
        return torch.cat([context.last().to(hidden.dtype), hidden], dim=1)

    def _look_up(self, language: Language, device: torch.device) -> Vocabulary:
        """The vocabulary, found once: heads are built before a language model is seen."""
        known = self._vocabulary
        if known is None or known.ids.device != device:
            config, tokenizer = self.config, language.tokenizer
            count = self.tokenizer.vocabulary
            ids = assign_words(config.words, tokenizer, count, skip=config.skip).to(device)
            end = spell_text(tokenizer, config.end)
            if len(end) > 1 or (end and end[0] in ids.tolist()):
                raise ConfigError(
                    f"WordsConfig.end {config.end!r} is {len(end)} words of this language model, "
                    "or stands for an action; it must be one word of its own."
                )
            if int(ids.max()) >= self.geometry.vocabulary:
                raise ConfigError(
                    f"The tokenizer has {tokenizer.vocab_size} words, the language model's output "
                    f"layer only {self.geometry.vocabulary}; raise WordsConfig.skip."
                )
            spelled = spell_text(tokenizer, config.begin)
            begin = torch.tensor(spelled, dtype=torch.int64, device=device)
            known = Vocabulary(ids=ids, begin=begin, end=end[0] if end else -1)
            self._vocabulary = known
        return known


def fill(actions: Tensor, mask: Tensor) -> Tensor:
    """Padded entries as zeros."""
    return actions.masked_fill(mask == 0, 0.0)


def hold(actions: Tensor, mask: Tensor) -> Tensor:
    """Padded entries as the last real one before them, 0 without any: no jump in frequencies."""
    steps = torch.arange(actions.shape[1], device=actions.device).view(1, -1, 1)
    last = torch.where(mask > 0, steps, -1).cummax(dim=1).values
    return fill(actions, mask).gather(1, last.clamp(min=0))
