"""SmolVLM2 (arXiv 2504.05299): SigLIP, a connector with pixel shuffle, a small Llama.

The connector lays neighbouring patches side by side in one token (64 tokens for 512 x 512
pixels), then projects them. The backbone of SmolVLA (arXiv 2506.01844).
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from policies.backbones import language_config
from policies.backbones.checkpoint import choose_tokenizer, load_tokenizer, load_vlm
from policies.backbones.parts import Parts, Tower, divide, untie
from policies.backbones.pixels import HALF, standardize
from policies.backbones.word_pieces import SIZE
from vla.errors import choose

PROMPT = "{images}{instruction}\n"
STATED = "{images}{instruction}, State: {state}\n"
AROUND = ("<fake_token_around_image><global-img>", "<fake_token_around_image>")
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "scale_factor": 2,
        "tie_word_embeddings": True,
        "vision_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 80,
            "patch_size": 10,
        },
        "text_config": {
            "vocab_size": SIZE,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "tie_word_embeddings": True,
        },
    },
    "500m": {  # config.json of HuggingFaceTB/SmolVLM2-500M-Video-Instruct
        "scale_factor": 4,
        "vision_config": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "image_size": 512,
            "patch_size": 16,
        },
        "text_config": {
            "vocab_size": 49280,
            "hidden_size": 960,
            "intermediate_size": 2560,
            "num_hidden_layers": 32,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
            "rope_theta": 100000.0,
            "rms_norm_eps": 1e-5,
        },
    },
    "octo_base": {  # the sizes of Octo-Base (2405.12213), a shallow eye before it
        "scale_factor": 1,
        "tie_word_embeddings": True,
        "vision_config": {
            "hidden_size": 512,
            "intermediate_size": 1024,
            "num_hidden_layers": 1,
            "num_attention_heads": 8,
            "image_size": 256,
            "patch_size": 16,
        },
        "text_config": {
            "vocab_size": SIZE,
            "hidden_size": 768,
            "intermediate_size": 2048,  # a gated MLP with as many weights as a plain one of 3072
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "num_key_value_heads": 12,
            "tie_word_embeddings": True,
        },
    },
}
# What SmolVLA grew from, as LeRobot runs it: the rotary base is 10000 there, not the model's
# own, and pictures stand without markers around them.
SIZES["smolvla"] = {
    **SIZES["500m"],
    "text_config": {**SIZES["500m"]["text_config"], "rope_theta": 10000.0},
}
BARE = ("smolvla",)


class ShufflingTower(Tower):
    """SigLIP's patches at their native size, then the connector."""

    def __init__(self, model: nn.Module, size: int):
        super().__init__()
        self.vision, self.projector = model.vision_model, model.connector
        self.size = size or self.vision.config.image_size
        patch = self.vision.config.patch_size
        self.grid = divide(self.size, patch * self.projector.scale_factor)
        native = self.vision.config.image_size // patch
        places = place_patches(self.size // patch, native)
        self.register_buffer("_places", places, persistent=False)

    def forward(self, pixels: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        """See `Tower.forward`."""
        # The whole model's own way in would drop pictures that are black. The vision model's own
        # finds out on the host, picture by picture, that none of them is padded.
        pixels = standardize(pixels, HALF, HALF).to(self.vision.dtype)
        entrance = self.vision.embeddings
        patches = entrance.patch_embedding(pixels).flatten(2).transpose(1, 2)
        patches = patches + entrance.position_embedding(self._places)
        seen = self.vision.encoder(inputs_embeds=patches, attention_mask=None).last_hidden_state
        return (self.projector(self.vision.post_layernorm(seen)),)


def place_patches(cells: int, native: int) -> Tensor:
    """Numbers int64 (cells * cells,) of the position embeddings of a whole square picture.

    Patches lie at fractions of the side, and so do `native` embeddings: transformers'
    SmolVLMVisionEmbeddings, in float32.
    """
    fractions = torch.arange(cells, dtype=torch.float32) * (1.0 / torch.tensor(float(cells)))
    bounds = torch.arange(1 / native, 1.0, 1 / native)
    rows = torch.bucketize(fractions.clamp(max=1.0 - 1e-6), bounds, right=True)
    return (rows[:, None] * native + rows).flatten()


def load(config: language_config.SmolvlmConfig) -> Parts:
    """Read the pretrained model, or make an untrained one.

    Raises:
        CheckpointError: when it cannot be read or is something else.
        UnknownChoice: for a size that is not in `SIZES`.
    """
    if config.name:
        model, tokenizer = load_vlm(config, ("smolvlm",)), load_tokenizer(config)
    else:
        tokenizer = choose_tokenizer(config)
        model = SmolVLMForConditionalGeneration(make_config(config))
        model = model.to(getattr(torch, config.dtype))
    body = model.model
    return Parts(
        tower=ShufflingTower(body, config.image_size),
        decoder=body.text_model,
        output=untie(model.lm_head, body.text_model),
        tokenizer=tokenizer,
        prompt=PROMPT,
        stated=STATED,
        around=("", "") if not config.name and config.size in BARE else AROUND,
    )


def make_config(config: language_config.SmolvlmConfig) -> SmolVLMConfig:
    """Sizes of an untrained model, for its class. Raises UnknownChoice."""
    numbers = choose("size", config.size, SIZES)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    text = {"model_type": "llama", **numbers["text_config"], **ids}
    return SmolVLMConfig(
        **{**numbers, "vision_config": dict(numbers["vision_config"]), "text_config": text},
        image_token_id=choose_tokenizer(config).convert_tokens_to_ids("<image>"),
        **ids,
    )
