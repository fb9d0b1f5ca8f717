"""Any image-text model of `transformers` as a backbone.

The generic classes do the work: `AutoModelForImageTextToText` reads the weights, the
checkpoint's own processor turns pictures and words into inputs (resizing, tiling, image
tokens, chat template), and the last hidden states are the tokens. What is added and
trained from scratch: one token for the state, and one linear read-out per label.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError
from peft import LoraConfig, inject_adapter_in_model
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor

from policies.backbones.config import AutoBackboneConfig
from policies.backbones.interface import Backbone, Context, ContextShape
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, ConfigError, EmbodimentMismatch, ShapeError


class AutoBackbone(Backbone):
    """A pretrained vision-language model with a state token.

    Images are given to the processor sorted by camera name, each camera's history oldest
    first, followed by the instruction. Sequences are padded on the right, so that positions
    count from the first real token and the last one is where its length says.

    Attributes:
        dim: hidden size of the language model.
        model: the transformers model, with its LoRA layers if there are any.
        processor: its processor.

    Args:
        config: which model, and what of it is trained.
        embodiment: whose cameras and state axes are seen.
        history: observation steps T.

    Raises:
        CheckpointError: when the model is missing, incomplete or not an image-text model.
        ConfigError: when a LoRA target, the layer count or `freeze` does not fit the model.
    """

    def __init__(self, config: AutoBackboneConfig, embodiment: Embodiment, *, history: int):
        super().__init__()
        self.cameras = sorted(embodiment.cameras)
        if not self.cameras:
            raise ConfigError(f"AutoBackbone needs a camera; {embodiment.name!r} has none.")
        self.model = load_model(config)
        self.processor = load_processor(config)
        self.dim = int(self.model.config.get_text_config().hidden_size)
        self.shape = ContextShape(dim=self.dim, state_dim=history * len(embodiment.state))
        self._dtype = getattr(torch, config.dtype)
        self._pool = config.pool
        _keep_layers(self.model, config.layers)
        _freeze(self.model, config.freeze)
        if config.lora_rank:
            _add_lora(self.model, config)
        self._trains_model = any(weight.requires_grad for weight in self.model.parameters())
        self._state_token = nn.Linear(history * len(embodiment.state), self.dim)
        # a label is one image point (u, v)
        self._labels = nn.ModuleDict({name: nn.Linear(self.dim, 2) for name in config.labels})

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
            hidden = self._last_hidden_states(inputs)  # (B, N, D)
        mask = inputs["attention_mask"].bool()  # (B, N)
        token = self._state_token(state.flatten(1))  # (B, D)
        pooled = _pool(hidden, mask, self._pool) + token
        return Context(
            tokens=torch.cat([hidden, token[:, None]], dim=1),
            mask=torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1),
            pooled=pooled,
            labels={name: layer(pooled) for name, layer in self._labels.items()},
            state=state,
        )

    def _last_hidden_states(self, inputs: dict[str, Tensor]) -> Tensor:
        base = self.model.base_model
        if base is self.model:  # no body to call without the vocabulary's logits
            outputs = self.model(**inputs, output_hidden_states=True, use_cache=False)
            return outputs.hidden_states[-1].float()
        return base(**inputs, use_cache=False).last_hidden_state.float()

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


def load_model(config: AutoBackboneConfig) -> nn.Module:
    """Read the weights, all of them and nothing else.

    Raises:
        CheckpointError: when the checkpoint cannot be read, lacks tensors or has others.
    """
    model, report = _read(
        config,
        AutoModelForImageTextToText.from_pretrained,
        dtype=getattr(torch, config.dtype),
        use_safetensors=True,
        output_loading_info=True,
    )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[what]:
            keys = sorted(str(key) for key in report[what])
            listing = ", ".join(keys[:20]) + (", ..." if len(keys) > 20 else "")
            raise CheckpointError(
                f"{config.name!r}: {len(keys)} {what.replace('_', ' ')}: {listing}. The weights "
                "do not belong to the config.json beside them; fetch the checkpoint again."
            )
    return model


def load_processor(config: AutoBackboneConfig) -> Any:
    """Read the processor; it must handle both pictures and words.

    Raises:
        CheckpointError: when it cannot be read or is only half of one.
    """
    processor = _read(config, AutoProcessor.from_pretrained)
    for part in ("image_processor", "tokenizer", "image_token"):
        if not hasattr(processor, part):
            raise CheckpointError(
                f"{config.name!r}: its processor ({type(processor).__name__}) has no {part}. Take "
                "an image-text model, with its processor_config.json (or "
                "preprocessor_config.json) and tokenizer files."
            )
    processor.tokenizer.padding_side = "right"
    return processor


def _read(config: AutoBackboneConfig, load: Callable[..., Any], **options: Any) -> Any:
    if not config.name:
        raise ConfigError("AutoBackboneConfig.name is empty; give a hub name or a folder.")
    try:
        return load(
            config.name, revision=config.revision or "main", trust_remote_code=False, **options
        )
    except (
        *(OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError),
        *(SafetensorError, HfHubHTTPError),
    ) as error:
        first = (str(error).strip() or repr(error)).splitlines()[0].rstrip(".:")
        raise CheckpointError(
            f"Cannot load {config.name!r} as an image-text model: {first}. {_remedy(config.name)}"
        ) from error


def _remedy(name: str) -> str:
    needs = "config.json, *.safetensors, processor and tokenizer files"
    if Path(name).is_dir():
        return f"The folder needs {needs}, all of one image-text model; fetch it again."
    if name.startswith(("/", ".", "~")):
        return f"There is no such folder; give one with {needs}, or a hub name."
    return (
        f"Give a hub name that exists, or a folder with {needs}; without internet, run "
        f"`hf download {name}` on a connected machine and copy its folder here."
    )


def _keep_layers(model: nn.Module, layers: int) -> None:
    """Drop the language model's layers above the first `layers` (0: keep all)."""
    if not layers:
        return
    decoder = model.get_decoder()
    have = len(decoder.layers)
    if not 0 < layers <= have:
        raise ConfigError(f"AutoBackboneConfig.layers is {layers}; the model has {have}.")
    decoder.layers = decoder.layers[:layers]
    model.config.get_text_config().num_hidden_layers = layers


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


def _add_lora(model: nn.Module, config: AutoBackboneConfig) -> None:
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685) beside each target layer.

    They start as no change at all. They are kept in float32 beside half-precision weights,
    or small updates would be rounded away.
    """
    adapter = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules=config.lora_targets
    )
    try:
        inject_adapter_in_model(adapter, model)
    except ValueError as error:
        raise ConfigError(
            f"lora_targets {config.lora_targets} do not fit {type(model).__name__}: {error}"
        ) from error
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def _pool(hidden: Tensor, mask: Tensor, how: str) -> Tensor:
    """Mean over, or last of, the real tokens: (B, N, D), bool (B, N) -> (B, D)."""
    if how == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    weight = mask[..., None].to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1)
