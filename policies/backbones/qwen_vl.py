"""Qwen2.5-VL (arXiv 2502.13923) and Qwen3-VL (arXiv 2511.21631) as a backbone.

Both merge 2 x 2 patches to a token and count positions along time, rows and columns; Qwen3-VL
adds features of several vision layers to the first layers of the decoder (DeepStack).
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from policies.backbones import language_config
from policies.backbones.checkpoint import choose_tokenizer, load_tokenizer, load_vlm
from policies.backbones.parts import Parts, Tower, divide, untie
from policies.backbones.pixels import CLIP, HALF, standardize
from policies.backbones.word_pieces import SIZE
from vla.errors import choose

_USER = "<|im_start|>user\n{images}{instruction}"
_TURN = "<|im_end|>\n<|im_start|>assistant\n"
PROMPT = _USER + _TURN
STATED = _USER + " State: {state}" + _TURN
AROUND = ("<|vision_start|>", "<|vision_end|>")
SIDE = 224  # pixels; these towers take any size
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "image_size": 96,
        "vision_config": {
            "depth": 2,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_heads": 2,
            "patch_size": 12,
            "temporal_patch_size": 1,
            "out_hidden_size": 96,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        "text_config": {
            "vocab_size": SIZE,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
        },
    },
    "2b": {  # config.json of Qwen/Qwen3-VL-2B-Instruct
        "image_size": SIDE,
        "vision_config": {
            "depth": 24,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_heads": 16,
            "patch_size": 16,
            "out_hidden_size": 2048,
            "deepstack_visual_indexes": [5, 11, 17],
        },
        "text_config": {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 6144,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5000000.0,
                "mrope_section": [24, 20, 20],
                "mrope_interleaved": True,
            },
        },
    },
}


class MergingTower(Tower):
    """Qwen's vision model on square pictures; its mergers are the projector."""

    waits = True  # transformers lays out its windows on the host

    def __init__(self, vision: nn.Module, size: int):
        super().__init__()
        self.vision = vision
        self.size = size
        config = vision.config
        self._patch, self._merge = config.patch_size, config.spatial_merge_size
        self._times = config.temporal_patch_size
        self.grid = divide(size, self._patch * self._merge)
        # by the published processors: Qwen3-VL's tower came from SigLIP 2, the other's from CLIP
        self._colours = (HALF, HALF) if config.model_type == "qwen3_vl" else CLIP

    @property
    def projector(self) -> nn.Module:  # type: ignore[override]
        """The mergers; a part of the vision model."""
        return nn.ModuleList(
            [self.vision.merger, *getattr(self.vision, "deepstack_merger_list", ())]
        )

    def forward(self, pixels: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        """See `Tower.forward`."""
        count = len(pixels)
        patches = self.cut(standardize(pixels, *self._colours))
        side = self.size // self._patch
        shape = torch.tensor([[1, side, side]], device=pixels.device).repeat(count, 1)
        seen = self.vision(patches.to(self.vision.dtype), grid_thw=shape)
        parts = (seen.pooler_output, *getattr(seen, "deepstack_features", ()))
        return tuple(part.unflatten(0, (count, -1)) for part in parts)

    def cut(self, pixels: Tensor) -> Tensor:
        """(M, 3, size, size) to rows of patches, the four to be merged next to each other.

        A still picture is a film in which nothing moves: each patch is there `times` times.
        """
        merge, patch = self._merge, self._patch
        cut = pixels.unflatten(3, (-1, merge, patch)).unflatten(2, (-1, merge, patch))
        cut = cut.permute(0, 2, 5, 3, 6, 1, 4, 7)  # (M, rows, columns, m, m, 3, p, p)
        still = cut.unsqueeze(6).expand(*(-1,) * 6, self._times, -1, -1)
        return still.flatten(5).flatten(0, 4)


def load(config: language_config.QwenVlConfig) -> Parts:
    """Read the pretrained model, or make an untrained one.

    Raises:
        CheckpointError: when it cannot be read or is something else.
        UnknownChoice: for a size that is not in `SIZES`.
    """
    side = config.image_size
    if config.name:
        model, tokenizer = load_vlm(config, ("qwen2_5_vl", "qwen3_vl")), load_tokenizer(config)
        side = side or SIDE  # a multiple of 28 (Qwen2.5-VL) and of 32 (Qwen3-VL)
    else:
        numbers = choose("size", config.size, SIZES)
        tokenizer = choose_tokenizer(config)
        names = {"image_token_id": "<image>", "vision_start_token_id": AROUND[0]}
        ids = {key: tokenizer.convert_tokens_to_ids(name) for key, name in names.items()}
        made = Qwen3VLConfig(
            vision_config=dict(numbers["vision_config"]),
            text_config=dict(numbers["text_config"]),
            tie_word_embeddings=True,
            **ids,
        )
        model = Qwen3VLForConditionalGeneration(made).to(getattr(torch, config.dtype))
        side = side or numbers["image_size"]
    body = model.model
    return Parts(
        tower=MergingTower(body.visual, side),
        decoder=body.language_model,
        output=untie(model.lm_head, body.language_model),
        tokenizer=tokenizer,
        prompt=PROMPT,
        stated=STATED,
        around=AROUND,
        planar=True,
    )
