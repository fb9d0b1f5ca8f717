"""FAST (Pertsch et al., arXiv 2501.09747): chunks as words over their frequencies.

Each axis goes through an orthonormal cosine transform (DCT-II) over the rows, times `scale`,
rounded; the numbers are read low frequencies first, all axes of one frequency together; each
becomes the character with its number less `least`; byte pair encoding joins frequent runs into
words. Smooth motion has few frequencies, so that a chunk takes few words whatever its rate.

The folder is that of the public universal tokenizer (physical-intelligence/fast): its
`processor_config.json` and `tokenizer.json` can be read, and what `save` writes can be read by
its code. That code is not needed and not run.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from policies.heads.tokenizers.interface import Decoded
from vla.errors import CheckpointError, ConfigError, DataError
from vla.files import complete_folder, write_json

_LAST_CHARACTER = 0xD7FF  # behind it come surrogates, which are no characters


class FastTokenizer:
    """See the module's docstring; keeps `policies.heads.tokenizers.interface.Tokenizer`.

    Args:
        words: byte pair encoding of the `tokenizers` library.
        scale: coefficients are told to 1 / scale; larger is finer and longer.
        least: the smallest number that has a character (`min_token`); smaller ones saturate.
        horizon, axes: of the chunks it was fitted on; 0 when it fits any.
    """

    def __init__(
        self, words: Tokenizer, *, scale: float, least: int, horizon: int = 0, axes: int = 0
    ):
        self.words, self.scale, self.least = words, scale, least
        self.horizon, self.axes = horizon, axes
        self.vocabulary = words.get_vocab_size()

    def encode(self, actions: Tensor) -> list[list[int]]:
        """Words of each normalised chunk (B, H, A).

        Raises:
            DataError: when the words lack a character, so that it would be lost unsaid; the
                tokenizer was fitted on other data.
        """
        lines = spell(quantize(actions, self.scale), self.least)
        sequences = [words.ids for words in self.words.encode_batch(lines)]
        for line, spelled in zip(lines, self.words.decode_batch(sequences), strict=True):
            if line != spelled:
                raise DataError(
                    f"The FAST tokenizer has no word for some of the coefficients "
                    f"{sorted({ord(c) + self.least for c in set(line) - set(spelled)})}; fit it "
                    "on these data (`vla data tokenizer`)."
                )
        return sequences

    def decode(self, sequences: Sequence[Sequence[int]], *, horizon: int, axes: int) -> Decoded:
        """See `Tokenizer.decode`. Frequencies that are missing count as 0."""
        coefficients = np.zeros((len(sequences), horizon * axes))
        valid = torch.zeros(len(sequences), dtype=torch.bool)
        for index, sequence in enumerate(sequences):
            known = [word for word in sequence if 0 <= word < self.vocabulary]
            line = self.words.decode(known, skip_special_tokens=False)
            good, _, rest = line.partition("\N{REPLACEMENT CHARACTER}")  # half a character
            whole = len(known) == len(sequence) and not rest and good == line
            valid[index] = whole and len(good) == horizon * axes
            read = [ord(character) + self.least for character in good[: horizon * axes]]
            coefficients[index, : len(read)] = read
        waves = coefficients.reshape(-1, horizon, axes) / self.scale
        rows = np.einsum("ft,bfa->bta", cosines(horizon), waves)
        return Decoded(actions=torch.from_numpy(rows.astype(np.float32)), valid=valid)

    @classmethod
    def fit(cls, chunks: Tensor, *, scale: float = 10.0, vocabulary: int = 1024) -> "FastTokenizer":
        """Learn the words of normalised chunks (N, H, A).

        Raises:
            ConfigError: when `vocabulary` has no room for words.
        """
        # Every byte is a word, so that whatever comes later can be told (the published fit
        # knows only what it saw, and drops the rest without a word).
        if vocabulary <= 256:
            raise ConfigError(
                f"A FAST vocabulary of {vocabulary} has no room: 256 words are the bytes."
            )
        numbers = quantize(chunks, scale)
        least = int(numbers.min())
        words = Tokenizer(models.BPE())
        words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        words.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=2,
            show_progress=False,
            special_tokens=[],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            max_token_length=10000,
        )
        words.train_from_iterator(spell(numbers, least), trainer=trainer)
        return cls(words, scale=scale, least=least, horizon=chunks.shape[1], axes=chunks.shape[2])

    def save(self, folder: Path) -> None:
        """Write the folder, all or nothing; one that is there already is replaced."""
        with complete_folder(folder) as draft:
            self.words.save(str(draft / "tokenizer.json"))
            write_json(
                draft / "tokenizer_config.json",
                {
                    "tokenizer_class": "PreTrainedTokenizerFast",
                    "clean_up_tokenization_spaces": False,
                },
            )
            write_json(
                draft / "processor_config.json",
                {
                    "processor_class": "UniversalActionProcessor",
                    "scale": self.scale,
                    "vocab_size": self.vocabulary,
                    "min_token": self.least,
                    "time_horizon": self.horizon or None,
                    "action_dim": self.axes or None,
                },
            )

    @classmethod
    def load(cls, folder: Path) -> "FastTokenizer":
        """Read a folder. Raises CheckpointError when it is missing or not of this kind."""
        try:
            settings = json.loads((folder / "processor_config.json").read_text())
            text = (folder / "tokenizer.json").read_text()
            scale, least = float(settings["scale"]), int(settings["min_token"])
            horizon, axes = (int(settings.get(key) or 0) for key in ("time_horizon", "action_dim"))
            # The library's own errors are plain Exceptions: look before asking it.
            known = json.loads(text)["model"]["type"] == "BPE"
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"{folder} is no FAST tokenizer ({type(error).__name__}: {error}); it needs "
                "processor_config.json with scale and min_token, and tokenizer.json."
            ) from error
        if not (known and math.isfinite(scale) and scale > 0):
            raise CheckpointError(
                f"{folder} is no FAST tokenizer: its words must be byte pairs (BPE) and its "
                f"scale above 0 (it is {scale})."
            )
        words = Tokenizer.from_str(text)
        return cls(words, scale=scale, least=least, horizon=horizon, axes=axes)


def cosines(rows: int) -> NDArray[np.float64]:
    """The orthonormal DCT-II: row f of (H, H) is the cosine of frequency f."""
    frequency, time = np.arange(rows)[:, None], np.arange(rows)[None, :]
    waves = np.cos(np.pi * frequency * (2 * time + 1) / (2 * rows)) * np.sqrt(2 / rows)
    waves[0] /= np.sqrt(2)
    return waves


def quantize(actions: Tensor, scale: float) -> NDArray[np.int64]:
    """Rounded coefficients of chunks (B, H, A), low frequencies first, axes together: (B, H A)."""
    rows = actions.detach().cpu().double().numpy()
    waves = np.einsum("ft,bta->bfa", cosines(rows.shape[1]), rows)
    return np.rint(waves * scale).astype(np.int64).reshape(len(rows), -1)


def spell(numbers: NDArray[np.int64], least: int) -> list[str]:
    """One line of characters per row of coefficients (B, N)."""
    codes = np.clip(numbers - least, 0, _LAST_CHARACTER)
    return ["".join(map(chr, row)) for row in codes.tolist()]
