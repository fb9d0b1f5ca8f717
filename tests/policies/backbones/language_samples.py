"""Whole models of transformers saved as folders, and bodies whose cameras they see unscaled."""

import torch
import transformers as tf

from policies.backbones import paligemma, prismatic, qwen_vl, smolvlm
from policies.backbones.language_config import (
    PaligemmaConfig,
    PrismaticConfig,
    QwenVlConfig,
    SmolvlmConfig,
)
from policies.backbones.word_pieces import SIZE, make_tokenizer
from vla.embodiment import Axis, Camera, Embodiment

CONFIGS = {
    "paligemma": PaligemmaConfig,
    "prismatic": PrismaticConfig,
    "qwen_vl": QwenVlConfig,
    "smolvlm": SmolvlmConfig,
}
TEXTS = ["pick up the red cube", "put it on the plate, please", "stop"]
MODULES = {
    "paligemma": paligemma,
    "prismatic": prismatic,
    "qwen_vl": qwen_vl,
    "smolvlm": smolvlm,
}


def make_body(side, cameras=("front",)):
    return Embodiment(
        name="sample",
        state=(Axis(name="joint", unit="rad", low=-3, high=3),) * 1,
        action=(Axis(name="dx", unit="m", low=-0.1, high=0.1, mode="delta"),),
        cameras={name: Camera(height=side, width=side) for name in cameras},
        hz=10.0,
    )


def make_images(side, size, cameras=("front",), steps=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (size, steps, side, side, 3)
    return {
        name: torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        for name in cameras
    }


def build(kind, *, cameras=("front",), side=40, history=1, readouts=0, seed=0, **options):
    torch.manual_seed(seed)
    backbone = CONFIGS[kind](**options).build(
        make_body(side, cameras), history=history, readouts=readouts
    )
    return backbone.eval()


def special(name):
    return make_tokenizer().convert_tokens_to_ids(name)


def save(model, path):
    torch.manual_seed(0)
    model.save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return model.eval()


def save_paligemma(path, *, second=False):
    config = paligemma._configure(paligemma.SIZES["tiny"])
    if second:  # PaliGemma 2: Gemma 2, sliding windows in every other layer, capped logits
        text = {**paligemma.SIZES["tiny"]["text_config"], "vocab_size": SIZE}
        ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        config = tf.PaliGemmaConfig(
            vision_config=dict(paligemma.SIZES["tiny"]["vision_config"]),
            text_config={"model_type": "gemma2", "sliding_window": 64, **text, **ids},
            projection_dim=96,
            hidden_size=96,
            vocab_size=SIZE,
            image_token_index=4,
        )
    torch.manual_seed(0)
    return save(tf.PaliGemmaForConditionalGeneration(config), path)


def save_smolvlm(path):
    numbers = smolvlm.SIZES["tiny"]
    config = tf.SmolVLMConfig(
        vision_config=dict(numbers["vision_config"]),
        text_config={"model_type": "llama", **numbers["text_config"], "tie_word_embeddings": False},
        scale_factor=2,
        image_token_id=special("<image>"),
        pad_token_id=0,
    )
    torch.manual_seed(0)
    return save(tf.SmolVLMForConditionalGeneration(config), path)


def save_qwen3(path):
    numbers = qwen_vl.SIZES["tiny"]
    config = tf.Qwen3VLConfig(
        vision_config={**numbers["vision_config"], "temporal_patch_size": 2},
        text_config=dict(numbers["text_config"]),
        image_token_id=special("<image>"),
        vision_start_token_id=special("<|vision_start|>"),
    )
    torch.manual_seed(0)
    return save(tf.Qwen3VLForConditionalGeneration(config), path)


def save_qwen25(path):
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 5, 5]}
    config = tf.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_heads": 2,
            "patch_size": 7,
            "out_hidden_size": 96,
            "window_size": 28,
            "fullatt_block_indexes": [1],
        },
        text_config={
            "vocab_size": SIZE,
            "hidden_size": 96,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "rope_parameters": rope,
            "use_sliding_window": False,
        },
        image_token_id=special("<image>"),
        vision_start_token_id=special("<|vision_start|>"),
    )
    torch.manual_seed(0)
    return save(tf.Qwen2_5_VLForConditionalGeneration(config), path)
