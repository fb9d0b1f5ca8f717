"""Prismatic (arXiv 2402.07865): DINOv2 and SigLIP side by side, an MLP, a causal decoder.

The backbone of OpenVLA (arXiv 2406.09246), OpenVLA-OFT and CogACT. Each tower gives the tokens
behind its last layer but one, not normed; the two are put together along the channels.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    LlamaConfig,
    LlamaForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from policies.backbones import language_config
from policies.backbones.checkpoint import choose_tokenizer
from policies.backbones.film import Film, film_dino, film_siglip
from policies.backbones.parts import Parts, Tower, divide, untie
from policies.backbones.pixels import HALF, IMAGENET, standardize
from policies.backbones.word_pieces import SIZE
from vla.errors import choose

PROMPT = "{bos}{images}In: What action should the robot take to {instruction}?\nOut: "
STATED = (
    "{bos}{images}In: What action should the robot take to {instruction}? State: {state}\nOut: "
)
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "dino": {
            "hidden_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "mlp_ratio": 2,
            "image_size": 70,
            "patch_size": 14,
        },
        "siglip": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 70,
            "patch_size": 14,
        },
        "language": {
            "vocab_size": SIZE,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "tie_word_embeddings": True,
        },
    },
    "7b": {  # timm's vit_large_patch14_reg4_dinov2 and vit_so400m_patch14_siglip_224, Llama 2
        "dino": {
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
        },
        "siglip": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
            "hidden_act": "gelu",  # timm's; transformers' SigLIP has the tanh approximation
        },
        "language": {"vocab_size": 32064},  # the rest are the class's own numbers
    },
}


class FusedTower(Tower):
    """Two towers and a projector of three linear layers with GELU.

    Args:
        dino, siglip: whole models; what comes after their last layer but one is dropped here.
        width: D of the decoder.
        size: pixels along each side of a picture; 0: as the towers say.
        film: modulate both by the words, see `Film`.
    """

    def __init__(self, dino: nn.Module, siglip: nn.Module, width: int, size: int, *, film: bool):
        super().__init__()
        _drop_top(dino, siglip)
        self.vision = nn.ModuleDict({"dino": dino, "siglip": siglip})
        native = dino.config.image_size
        self.size = size or native
        self._resampled = self.size != native
        self.grid = divide(self.size, dino.config.patch_size)
        channels = dino.config.hidden_size + siglip.config.hidden_size
        self.projector = Projector(channels, width)
        self._prefix = 1 + dino.config.num_register_tokens  # its class and register tokens
        self.films = None
        if film:
            self.films = nn.ModuleDict(
                {
                    "dino": Film(width, dino.config.hidden_size, len(dino.encoder.layer)),
                    "siglip": Film(
                        width,
                        siglip.config.hidden_size,
                        len(siglip.vision_model.encoder.layers),
                    ),
                }
            )

    def forward(self, pixels: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        """See `Tower.forward`."""
        dino, siglip = self.vision["dino"], self.vision["siglip"]
        by_imagenet = standardize(pixels, *IMAGENET).to(dino.dtype)
        by_half = standardize(pixels, HALF, HALF).to(siglip.dtype)
        one = dino.embeddings(by_imagenet)
        for index, layer in enumerate(dino.encoder.layer):
            one = film_dino(layer, one, *self._modulate("dino", index, words, one))
        body = siglip.vision_model
        two = body.embeddings(by_half, interpolate_pos_encoding=self._resampled)
        for index, layer in enumerate(body.encoder.layers):
            two = film_siglip(layer, two, *self._modulate("siglip", index, words, two))
        fused = torch.cat([one[:, self._prefix :], two], dim=-1)
        return (self.projector(fused),)

    def _modulate(self, name: str, index: int, words: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        return () if self.films is None else self.films[name](index, words, like.dtype)


class Projector(nn.Module):
    """(M, P, channels) to (M, P, width): GELU between three linear layers (OpenVLA's names)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, width)
        self.fc3 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = nn.functional.gelu(self.fc1(x))
        return self.fc3(nn.functional.gelu(self.fc2(x)))


def load(config: language_config.PrismaticConfig) -> Parts:
    """Read OpenVLA's weights, or make an untrained model.

    Raises:
        CheckpointError: when they cannot be read or are something else.
        UnknownChoice: for a size that is not in `SIZES`.
    """
    if config.name:
        from policies.backbones.openvla import read

        return read(config)
    numbers = choose("size", config.size, SIZES)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    parts = assemble(config, numbers, {**numbers["language"], **ids}, choose_tokenizer(config))
    for part in (parts.tower.vision, parts.tower.projector, parts.decoder):
        part.to(getattr(torch, config.dtype))
    return parts


def assemble(
    config: language_config.PrismaticConfig,
    numbers: dict[str, Any],
    language: dict[str, Any],
    tokenizer: Any,
) -> Parts:
    """An untrained model: `numbers` of the two towers, `language` of the Llama."""
    dino = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**numbers["dino"]))
    siglip = SiglipVisionModel(SiglipVisionConfig(**numbers["siglip"], vision_use_head=False))
    model = LlamaForCausalLM(LlamaConfig(**language))
    width = model.config.hidden_size
    return Parts(
        tower=FusedTower(dino, siglip, width, config.image_size, film=config.film),
        decoder=model.model,
        output=untie(model.lm_head, model.model),
        tokenizer=tokenizer,
        prompt=PROMPT,
        stated=STATED,
    )


def _drop_top(dino: nn.Module, siglip: nn.Module) -> None:
    """Weights that nothing reads are neither kept nor trained."""
    dino.encoder.layer = dino.encoder.layer[:-1]
    dino.layernorm = nn.Identity()
    dino.embeddings.mask_token = None
    siglip.vision_model.encoder.layers = siglip.vision_model.encoder.layers[:-1]
    siglip.vision_model.post_layernorm = nn.Identity()
