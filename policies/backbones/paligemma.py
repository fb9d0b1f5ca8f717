"""PaliGemma (arXiv 2407.07726): SigLIP, a linear projector, Gemma. The backbone of pi0.

Pictures come first, then the begin token, the words and a new line; all of these see each
other (prefix-LM). Words are scaled by sqrt(D), pictures are not: Gemma's embedding layer in
transformers does the first, its PaliGemma class nothing to the second.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

from policies.backbones import language_config
from policies.backbones.checkpoint import choose_tokenizer, load_tokenizer, load_vlm
from policies.backbones.parts import Parts, Tower, divide, untie
from policies.backbones.pixels import HALF, standardize
from policies.backbones.word_pieces import SIZE
from vla.errors import choose

PROMPT = "{images}{bos}{instruction}\n"
STATED = "{images}{bos}Task: {instruction}, State: {state};\nAction: "  # openpi, pi0.5
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vision_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 84,
            "patch_size": 14,
            "vision_use_head": False,
        },
        "text_config": {
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "head_dim": 32,
        },
    },
    "pi": {  # what pi0 and pi0.5 grew from: lerobot 0.6.1's own numbers for "gemma_2b"
        "vision_config": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
            "vision_use_head": False,
        },
        "text_config": {
            "hidden_size": 2048,
            "intermediate_size": 16384,
            "num_hidden_layers": 18,
            "num_attention_heads": 8,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "vocab_size": 257152,
        },
    },
    "3b": {},  # the class's own numbers: SigLIP So400m/14 at 224 pixels, Gemma 2B
}


class SiglipTower(Tower):
    """SigLIP's patches, normed, and one linear layer."""

    def __init__(self, model: nn.Module, size: int):
        super().__init__()
        self.vision, self.projector = model.vision_tower, model.multi_modal_projector
        native = self.vision.config.image_size
        self.size = size or native
        self._resampled = self.size != native
        self.grid = divide(self.size, self.vision.config.patch_size)

    def forward(self, pixels: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        """See `Tower.forward`."""
        seen = self.vision(
            standardize(pixels, HALF, HALF).to(self.vision.dtype),
            interpolate_pos_encoding=self._resampled,
        )
        return (self.projector(seen.last_hidden_state),)


def load(config: language_config.PaligemmaConfig) -> Parts:
    """Read the pretrained model, or make an untrained one.

    Raises:
        CheckpointError: when it cannot be read or is something else.
        UnknownChoice: for a size that is not in `SIZES`.
    """
    if config.name:
        model = load_vlm(config, ("paligemma",))
        tokenizer = load_tokenizer(config)
    else:
        numbers = choose("size", config.size, SIZES)
        tokenizer = choose_tokenizer(config)
        model = PaliGemmaForConditionalGeneration(_configure(numbers))
        model = model.to(getattr(torch, config.dtype))
    body = model.model
    return Parts(
        tower=SiglipTower(body, config.image_size),
        decoder=body.language_model,
        output=untie(model.lm_head, body.language_model),
        tokenizer=tokenizer,
        prompt=PROMPT,
        stated=STATED,
    )


def _configure(numbers: dict[str, Any]) -> PaliGemmaConfig:
    if not numbers:
        return PaliGemmaConfig()
    text = {"vocab_size": SIZE, **numbers["text_config"]}
    width = text["hidden_size"]
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return PaliGemmaConfig(
        vision_config=dict(numbers["vision_config"]),
        text_config={**text, **ids},
        projection_dim=width,
        hidden_size=width,
        vocab_size=text["vocab_size"],
        image_token_index=4,
        **ids,
    )
