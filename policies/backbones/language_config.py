"""Choices of the backbones around a language model. Plain data: importing this costs nothing."""

from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING

from policies.backbones.config import DTYPES, POOLS, BackboneConfig
from policies.checks import require_choice, require_positive
from vla.embodiment import Embodiment
from vla.errors import ConfigError

if TYPE_CHECKING:
    from policies.backbones.interface import Backbone
    from policies.backbones.parts import Parts

STATES = ("token", "mlp", "text", "none")
ATTENTIONS = ("causal", "prefix", "bidirectional")
TRAINS = ("full", "frozen")
READOUTS = ("learned", "zero", "ahead", "token")
FITS = ("pad", "pad_plain", "pad_corner", "stretch", "crop")
REDUCTIONS = ("pool", "merge")


@dataclass(kw_only=True, slots=True)
class LanguageBackboneConfig(BackboneConfig):
    """What all of them share: a vision tower, a projector and a decoder-only language model.

    Attributes:
        name: folder or hub name of pretrained weights in the format of transformers; "" makes
            untrained ones of the size `size`.
        revision: commit or tag on the hub; "" takes the default branch.
        size: of untrained weights, when there is no `name`: "tiny" trains on a CPU; the sizes
            of the published models are there to be measured, or to be filled from a public
            policy. They read with a tokenizer of 1024 symbols made here, or:
        tokenizer: folder or hub name of another one; with a `name` it has its own.
        dtype: of the pretrained weights; what is added here stays in float32.
        vision, projector, language: which parts are trained, "full" or "frozen".
        layers: how many of the language model's layers to keep, from the first; 0 keeps all.
        cameras: which ones are seen, in this order; empty: all, by name.
        image_size: pixels along each side of the square the tower sees; 0: as the model says.
        fit: how pictures become squares: "pad", "pad_plain" and "pad_corner" keep the aspect
            ratio, "stretch" and "crop" do not; see `pixels.fit`.
        prompt: text with {images} and {instruction}; also known: {bos}, {state}; "" takes the
            model's own.
        lower: put the instruction into lower case, without blanks and stop at its end.
        bucket: prompts are padded to a multiple of so many tokens.
        state: "token": one token of the prefix, linear in the state; "mlp": the same through
            two layers (OpenVLA-OFT); "text": the prompt says it in numbers of 256 bins (pi0.5);
            "none": not seen here.
        attention: within the prefix: "causal", "prefix" (pictures and words see each other, the
            state's token sees them) or "bidirectional" (all see all).
        readout: what the readout tokens are before they have read: "learned" vectors (Octo),
            "zero" (OpenVLA-OFT) or the end "token" (CogACT's cognition). "ahead" is what OFT's
            released weights want: zeros and an end token that the prefix sees, too, and each
            readout is read one place ahead of its own, as next words are. It takes
            attention="bidirectional".
        pool: the summary vector is the "mean" of the hidden states, or the "last" one.
        labels: names of the image points (u, v) in [-1, 1] to predict from the summary.
    """

    name: str = ""
    revision: str = ""
    size: str = "tiny"
    tokenizer: str = ""
    dtype: str = "float32"
    vision: str = "full"
    projector: str = "full"
    language: str = "full"
    layers: int = 0
    cameras: list[str] = field(default_factory=list)
    image_size: int = 0
    fit: str = "pad"
    prompt: str = ""
    lower: bool = False
    bucket: int = 8
    state: str = "token"
    attention: str = "prefix"
    readout: str = "learned"
    pool: str = "mean"
    labels: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        require_choice(self, "dtype", DTYPES)
        require_choice(self, "state", STATES)
        require_choice(self, "attention", ATTENTIONS)
        require_choice(self, "readout", READOUTS)
        require_choice(self, "pool", POOLS)
        require_choice(self, "fit", FITS)
        if self.readout == "ahead" and self.attention != "bidirectional":
            raise ConfigError(
                f"{type(self).__name__}: readout='ahead' needs attention='bidirectional', in which "
                f"all see all; it is {self.attention!r}."
            )
        for part in ("vision", "projector", "language"):
            require_choice(self, part, TRAINS)
        require_positive(self, "bucket")
        for name in ("layers", "image_size"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{type(self).__name__}.{name} is negative; 0: as the model.")
        if self.prompt and ("{state}" in self.prompt) != (self.state == "text"):
            raise ConfigError(
                f"{type(self).__name__}: state is {self.state!r}, but the prompt "
                f"{self.prompt!r} says {'' if '{state}' in self.prompt else 'no '}{{state}}; "
                "write {state} into the prompt exactly with state='text'."
            )

    def build(self, embodiment: Embodiment, *, history: int, readouts: int = 0) -> "Backbone":
        """Load the model, or make an untrained one. Raises CheckpointError if unreadable."""
        from policies.backbones.language_backbone import LanguageBackbone

        parts = self.load_parts()
        return LanguageBackbone(self, parts, embodiment, history=history, readouts=readouts)

    def load_parts(self) -> "Parts":
        """The model taken apart; see `build`."""
        raise ConfigError("No family of language models is chosen; `vla list` shows them.")


@dataclass(kw_only=True, slots=True)
class PaligemmaConfig(LanguageBackboneConfig):
    """SigLIP, a linear projector and Gemma (PaliGemma, arXiv 2407.07726; pi0, pi0.5).

    Pictures and words see each other both ways. Loads PaliGemma and PaliGemma 2.
    """

    kind: str = "paligemma"

    def load_parts(self) -> "Parts":
        """Read the pretrained model, or make an untrained one."""
        from policies.backbones.paligemma import load

        return load(self)


@dataclass(kw_only=True, slots=True)
class SmolvlmConfig(LanguageBackboneConfig):
    """SmolVLM2 (arXiv 2504.05299): SigLIP, pixel shuffle, a small Llama; SmolVLA's backbone.

    SmolVLA keeps the first 16 layers (layers=16), frozen (language="frozen"), and lets pictures
    and words see each other both ways. It also scales pictures and words by sqrt(D), which
    SmolVLM itself does not and this backbone does not either.
    """

    kind: str = "smolvlm"

    def load_parts(self) -> "Parts":
        """Read the pretrained model, or make an untrained one."""
        from policies.backbones.smolvlm import load

        return load(self)


@dataclass(kw_only=True, slots=True)
class QwenVlConfig(LanguageBackboneConfig):
    """Qwen2.5-VL (arXiv 2502.13923) or Qwen3-VL (arXiv 2511.21631).

    Rotary positions along rows and columns of the pictures; Qwen3-VL also adds features of
    several vision layers to its first layers (DeepStack). Untrained ones are Qwen3-VL. Pictures
    are squares of `image_size` pixels (0: 224), a multiple of 28 (Qwen2.5-VL) or 32.
    """

    kind: str = "qwen_vl"
    attention: str = "causal"

    def load_parts(self) -> "Parts":
        """Read the pretrained model, or make an untrained one."""
        from policies.backbones.qwen_vl import load

        return load(self)


@dataclass(kw_only=True, slots=True)
class PrismaticConfig(LanguageBackboneConfig):
    """DINOv2 and SigLIP side by side, an MLP, a causal language model (arXiv 2402.07865).

    The backbone of OpenVLA, OpenVLA-OFT (attention="bidirectional", readout="zero") and CogACT
    (readout="token"); `name` reads the weights of openvla/openvla-7b and its like. Pictures
    stand behind the begin token. The features are those before the last layer of each tower.

    Attributes:
        film: modulate both towers by the mean embedding of the prompt (OpenVLA-OFT+,
            arXiv 2502.19645); starts as no change at all.
    """

    kind: str = "prismatic"
    attention: str = "causal"
    fit: str = "stretch"
    lower: bool = True
    film: bool = False

    def load_parts(self) -> "Parts":
        """Read the pretrained model, or make an untrained one."""
        from policies.backbones.prismatic import load

        return load(self)


@dataclass(kw_only=True, slots=True)
class ReducedConfig(BackboneConfig):
    """Another backbone whose language model reads fewer tokens per picture.

    Attributes:
        inner: the backbone; one with a language model, but not `auto`.
        method: "pool" averages cells of the picture; trained on several scales, one model
            serves them all (Matryoshka Multimodal Models, arXiv 2405.17430). "merge" puts the
            most similar tokens together, also without training (ToMe, arXiv 2210.09461).
        keep: tokens per picture when acting; a square number for "pool".
        scales: "pool" draws one of these square numbers per batch in training; empty: `keep`.
    """

    kind: str = "reduced"
    inner: BackboneConfig = field(default_factory=BackboneConfig)
    method: str = "pool"
    keep: int = 16
    scales: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        require_choice(self, "method", REDUCTIONS)
        require_positive(self, "keep")
        if self.method == "merge" and self.scales:
            raise ConfigError("ReducedConfig.scales are of method='pool'; leave them empty.")
        for count in (self.keep, *self.scales) if self.method == "pool" else ():
            if count < 1 or isqrt(count) ** 2 != count:
                raise ConfigError(
                    f"ReducedConfig: {count} tokens are no square; 'pool' keeps e.g. "
                    f"{max(1, isqrt(max(count, 1))) ** 2}."
                )

    def build(self, embodiment: Embodiment, *, history: int, readouts: int = 0) -> "Backbone":
        """Make the inner backbone and reduce what its tower tells.

        Raises:
            ConfigError: when it has no tower, or fewer tokens than are to be kept.
        """
        from policies.backbones.token_reduction import reduce

        return reduce(self, self.inner.build(embodiment, history=history, readouts=readouts))


LANGUAGE_BACKBONES: dict[str, type] = {
    "prismatic": PrismaticConfig,
    "paligemma": PaligemmaConfig,
    "smolvlm": SmolvlmConfig,
    "qwen_vl": QwenVlConfig,
}
