"""Any image-text model of `transformers` as a backbone.

The generic classes do the work: `AutoModelForImageTextToText` reads the weights, the
checkpoint's own processor turns pictures and words into inputs (resizing, tiling, image
tokens, chat template), and the last hidden states are the tokens. What is added and
trained from scratch: one token for the state, one linear read-out per label, and the readout
tokens that the head asks for. Where the language model is of a plain kind (`_PLAIN`), heads
also get its prefix and may go on behind it; the state is not a part of that.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoProcessor, DynamicCache

from policies.backbones.checkpoint import load_model, read_part
from policies.backbones.config import AutoBackboneConfig
from policies.backbones.decoder import DecoderLanguage, Layers, describe, pair_up
from policies.backbones.interface import Backbone, Context, ContextShape, Prefix
from policies.backbones.parts import keep_layers
from policies.backbones.pooling import pool
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, ConfigError, EmbodimentMismatch, ShapeError

# decoders that see all of their past and count positions one by one
_PLAIN = ("gemma", "llama", "mistral", "qwen2", "qwen3")
_FIRST = {"paligemma": 1}  # where positions begin; elsewhere at 0


class AutoBackbone(Backbone):
    """A pretrained vision-language model with a state token.

    Images are given to the processor sorted by camera name, each camera's history oldest
    first, followed by the instruction. Sequences are padded on the right, so that positions
    count from the first real token and the last one is where its length says.

    Attributes:
        dim: hidden size of the language model.
        model: the transformers model.
        processor: its processor.

    Args:
        config: which model, and what of it is trained.
        embodiment: whose cameras and state axes are seen.
        history: observation steps T.
        readouts: how many tokens R read behind the prefix for the head.

    Raises:
        CheckpointError: when the model is missing, incomplete or not an image-text model.
        ConfigError: when the layer count or `freeze` does not fit the model, or
            readouts are asked of a language model that is not of a plain kind.
    """

    def __init__(
        self,
        config: AutoBackboneConfig,
        embodiment: Embodiment,
        *,
        history: int,
        readouts: int = 0,
    ):
        super().__init__()
        self.cameras = sorted(embodiment.cameras)
        if not self.cameras:
            raise ConfigError(f"AutoBackbone needs a camera; {embodiment.name!r} has none.")
        self.model = load_model(config)
        self.processor = load_processor(config)
        self.dim = int(self.model.config.get_text_config().hidden_size)
        self._dtype = getattr(torch, config.dtype)
        self._pool = config.pool
        keep_layers(self.model.get_decoder(), config.layers, type(config).__name__)
        kind = self.model.config.get_text_config().model_type
        self._plain = kind in _PLAIN and self.model.base_model is not self.model
        if readouts and not self._plain:
            raise ConfigError(
                f"The head asks for {readouts} readout tokens; auto has them for language models "
                f"of the kinds {', '.join(_PLAIN)}, and {config.name!r} is {kind!r}."
            )
        self.shape = ContextShape(
            dim=self.dim,
            state_dim=history * len(embodiment.state),
            language=describe(self.model.get_decoder()) if self._plain else None,
        )
        self._readouts = nn.Parameter(torch.randn(readouts, self.dim) * 0.02) if readouts else None
        _freeze(self.model, config.freeze)
        self._state_token = nn.Linear(history * len(embodiment.state), self.dim)
        # a label is one image point (u, v)
        self._labels = nn.ModuleDict({name: nn.Linear(self.dim, 2) for name in config.labels})

    @property
    def _trains_model(self) -> bool:
        return any(weight.requires_grad for weight in self.model.parameters())

    def parts(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.parts`; models that do not tell their parts apart are all "language"."""
        vision, language = self.model.get_encoder(modality="image"), self.model.get_decoder()
        if vision is self.model or language is self.model:
            return {"language": [self.model]}
        output = self.model.get_output_embeddings()
        inside = {
            id(m) for part in (vision, language, output) if part is not None for m in part.modules()
        }
        around = {
            id(m) for m in self.model.modules() if any(id(part) in inside for part in m.modules())
        }
        rest = [m for m in self.model.modules() if id(m) not in inside | around]
        named = {"vision": [vision], "projector": rest, "language": [language]}
        return named if output is None else named | {"vocabulary": [output]}

    def train(self, mode: bool = True) -> "AutoBackbone":
        """As usual, but a model that is not trained keeps its dropout off."""
        super().train(mode)
        if not self._trains_model:
            self.model.eval()
        return self

    def encode(self, images: dict[str, Tensor], texts: list[str], state: Tensor) -> Context:
        """Encode B observations, each as if it were alone.

        Args:
            images: per camera uint8 (B, T, H, W, 3), RGB, newest step last.
            texts: B instructions.
            state: float32 (B, T, S), normalised.

        Returns:
            Context of N + 1 tokens: the model's last hidden states, float32, and the state's
            token behind them. `pooled` is the mean (or the last) of the real hidden states
            plus the state's token.

        Raises:
            EmbodimentMismatch: when a camera is missing.
            ShapeError: when an instruction contains the model's image token.
        """
        inputs = self._prepare(images, texts, state.device)
        with torch.set_grad_enabled(self._trains_model and torch.is_grad_enabled()):
            hidden, layers = self._last_hidden_states(inputs)  # (B, N, D)
        mask = inputs["attention_mask"].bool()  # (B, N)
        prefix = self._make_prefix(layers, mask)
        language = self._language() if self._plain else None
        readouts = None
        if self._readouts is not None and language is not None and prefix is not None:
            asked = self._readouts.expand(len(mask), -1, -1)
            seen = torch.ones(2 * asked.shape[1:2], dtype=torch.bool, device=mask.device)
            readouts = language.extend(asked, prefix, seen)[0].float()
        token = self._state_token(state.flatten(1))  # (B, D)
        pooled = pool(hidden, mask, self._pool) + token
        return Context(
            tokens=torch.cat([hidden, token[:, None]], dim=1),
            mask=torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1),
            pooled=pooled,
            labels={name: layer(pooled) for name, layer in self._labels.items()},
            state=state,
            readouts=readouts,
            prefix=prefix,
            language=language,
        )

    def _language(self) -> DecoderLanguage:
        output = self.model.get_output_embeddings().weight
        return DecoderLanguage(self.model.get_decoder(), output, self.processor.tokenizer)

    def _make_prefix(self, layers: Layers | None, mask: Tensor) -> Prefix | None:
        if layers is None:
            return None
        first = _FIRST.get(self.model.config.model_type, 0)
        return Prefix(layers=layers, mask=mask, positions=mask.cumsum(dim=1) - 1 + first)

    def _last_hidden_states(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Layers | None]:
        base = self.model.base_model
        if base is self.model:  # no body to call without the vocabulary's logits
            outputs = self.model(**inputs, output_hidden_states=True, use_cache=False)
            return outputs.hidden_states[-1].float(), None
        if not self._plain:
            return base(**inputs, use_cache=False).last_hidden_state.float(), None
        cache = DynamicCache()
        outputs = base(**inputs, past_key_values=cache, use_cache=True)
        return outputs.last_hidden_state.float(), pair_up(cache)

    def _prepare(
        self, images: dict[str, Tensor], texts: list[str], device: torch.device
    ) -> dict[str, Tensor]:
        missing = [name for name in self.cameras if name not in images]
        if missing:
            raise EmbodimentMismatch(
                f"Camera {missing[0]!r} is missing; the backbone sees {self.cameras}, "
                f"offered are {sorted(images)}."
            )
        frames = torch.cat([images[name].movedim(-1, -3) for name in self.cameras], dim=1)
        nested = [list(sample) for sample in frames]  # B lists of uint8 (3, H, W)
        prompts = [self._prompt(text, frames.shape[1]) for text in texts]
        inputs = self.processor(text=prompts, images=nested, padding=True, return_tensors="pt")
        inputs.pop("labels", None)  # PaliGemma's processor always makes targets
        return {
            name: value.to(device, self._dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

    def _prompt(self, text: str, frames: int) -> str:
        token = self.processor.image_token
        if token in text:
            raise ShapeError(f"The instruction {text!r} contains the image token {token!r}.")
        if self.processor.chat_template is None:
            return token * frames + text
        content = [{"type": "image"}] * frames + [{"type": "text", "text": text}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=False,
            processor_kwargs={"padding": True},  # unused here; SmolVLM warns on every call if empty
        )


def load_processor(config: AutoBackboneConfig) -> Any:
    """Read the processor; it must handle both pictures and words.

    Raises:
        CheckpointError: when it cannot be read or is only half of one.
    """
    processor = read_part(config, AutoProcessor.from_pretrained)
    for part in ("image_processor", "tokenizer", "image_token"):
        if not hasattr(processor, part):
            raise CheckpointError(
                f"{config.name!r}: its processor ({type(processor).__name__}) has no {part}. Take "
                "an image-text model, with its processor_config.json (or "
                "preprocessor_config.json) and tokenizer files."
            )
    processor.tokenizer.padding_side = "right"
    return processor


def _freeze(model: nn.Module, freeze: str) -> None:
    if freeze == "none":
        return
    part = model if freeze == "all" else model.get_encoder(modality="image")
    if freeze == "vision" and part is model:
        raise ConfigError(
            f"freeze='vision': {type(model).__name__} does not name its vision encoder; "
            "choose 'all' or 'none'."
        )
    part.requires_grad_(False)
