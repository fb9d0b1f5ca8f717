"""Choices that make a head that speaks through a language model. Plain data, cheap to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from policies.checks import require_choice, require_positive
from policies.heads.config import DdpmConfig, HeadConfig
from vla.errors import ConfigError

if TYPE_CHECKING:
    from policies.backbones.interface import ContextShape, Geometry
    from policies.heads.interface import Head
    from policies.heads.tokenizers.interface import Tokenizer

SYMBOLS = ("digits", "bins", "fast")
WORDS = ("last", "rare", "integers")


@dataclass(kw_only=True, slots=True)
class WordsConfig(HeadConfig):
    """Actions as words of the language model's own vocabulary, written one after the other.

    The defaults are OpenVLA's; RT-2 has symbols="bins" and words="rare" or "integers"; pi0-FAST
    symbols="fast", skip=128 and end="|". A trained head needs the FAST folder wherever it runs.

    Attributes:
        symbols: one per scalar, "digits" (`bins` edges over [-1, 1]) or "bins" (equal bins over
            [-bound, bound]), or "fast": words over the chunk's frequencies.
        words: which words stand for them: "last" (of the vocabulary), "rare" (the last that are
            not special) or "integers" ("0", "1", ...).
        bins: symbols per scalar.
        bound: of the equal bins, in normalised units; values beyond saturate.
        fast: folder of a FAST tokenizer.
        skip: words at the vocabulary's end that stay as they are.
        begin: text before the actions; "" when the prompt ends with it.
        end: the word behind them, where their number differs.
        temperature: 0 takes the likeliest word; above, words are drawn, by the plan's noise.
    """

    kind: str = "words"
    symbols: str = "digits"
    words: str = "last"
    bins: int = 256
    bound: float = 1.0
    fast: str = ""
    skip: int = 0
    begin: str = ""
    end: str = ""
    temperature: float = 0.0

    def __post_init__(self) -> None:
        require_positive(self, "bins", "bound")
        require_choice(self, "symbols", SYMBOLS)
        require_choice(self, "words", WORDS)
        for name in ("skip", "temperature"):
            if getattr(self, name) < 0:
                raise ConfigError(f"WordsConfig.{name} is negative; 0 does without.")
        for name, given in (("fast", self.fast), ("end", self.end)):
            if (self.symbols == "fast") != bool(given):
                raise ConfigError(
                    f"WordsConfig.{name} is {given!r}; symbols='fast' needs it (end: e.g. '|'), "
                    "the others go without."
                )

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the head. Raises CheckpointError when the FAST folder cannot be read."""
        from policies.heads.words import WordsHead

        tokenizer = self.make_tokenizer()
        return WordsHead(
            self, tokenizer=tokenizer, shape=shape, action_dim=action_dim, horizon=horizon
        )

    def make_tokenizer(self) -> "Tokenizer":
        """What turns chunks into symbols."""
        if self.symbols == "fast":
            from policies.heads.tokenizers.fast import FastTokenizer

            return FastTokenizer.load(Path(self.fast))
        if self.symbols == "bins":
            from policies.heads.tokenizers.bins import UniformBins

            return UniformBins(bins=self.bins, bound=self.bound)
        from policies.heads.words_vocabulary import Digits

        return Digits(bins=self.bins)


@dataclass(kw_only=True, slots=True)
class ParallelConfig(HeadConfig):
    """The whole chunk in one pass of the language model (OpenVLA-OFT): L1 on readout tokens.

    Attributes:
        width: of the residual MLP; 0 is the language model's.
        blocks: of the residual MLP.
    """

    kind: str = "parallel"
    width: int = 0
    blocks: int = 2

    def __post_init__(self) -> None:
        _check_parallel(self)

    def count_readouts(self, *, action_dim: int, horizon: int) -> int:
        """One per scalar of the chunk."""
        return horizon * action_dim

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.parallel import ParallelHead

        require_language(self, shape)
        return ParallelHead(self, shape=shape, action_dim=action_dim, horizon=horizon)


@dataclass(kw_only=True, slots=True)
class ParallelDiffusionConfig(DdpmConfig):
    """OpenVLA-OFT's diffusion variant: noisy scalars are read by the language model itself.

    Each step of sampling is one pass of the language model over H * A + 1 tokens.

    Attributes:
        width: of the residual MLP; 0 is the language model's.
        blocks: of the residual MLP.
    """

    kind: str = "parallel_diffusion"
    width: int = 0
    blocks: int = 2
    train_steps: int = 50
    clip: float = 1.0  # as diffusers' DDIM does unless told otherwise; OFT leaves it so
    draws: int = 1  # each takes its own copy of the prefix's keys and values

    def __post_init__(self) -> None:
        DdpmConfig.__post_init__(self)
        _check_parallel(self)

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.denoising import DenoisingHead
        from policies.heads.parallel_diffusion import ParallelNetwork

        network = ParallelNetwork(self, shape=shape, action_dim=action_dim, horizon=horizon)
        process = self.make_process()
        return DenoisingHead(
            self, process=process, network=network, horizon=horizon, clip=self.clip
        )


def _check_parallel(config: ParallelConfig | ParallelDiffusionConfig) -> None:
    require_positive(config, "blocks")
    if config.width < 0:
        raise ConfigError(f"{type(config).__name__}.width is negative; 0 follows the backbone.")


def require_language(config: HeadConfig, shape: "ContextShape") -> "Geometry":
    """The language model's sizes.

    Raises:
        ConfigError: when the backbone offers none.
    """
    if shape.language is None:
        raise ConfigError(
            f"{type(config).__name__} needs a language model, which this backbone does not offer; "
            "take policy/backbone=paligemma, smolvlm, prismatic or qwen_vl, or a head that only "
            "looks: flow, diffusion, tokens, regression."
        )
    return shape.language
