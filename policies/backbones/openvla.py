"""Weights of openvla/openvla-7b and its like (OpenVLA-OFT, CogACT), for `prismatic`.

Their folders hold two vision towers under the names of timm, where query, key and value are
one matrix and DINOv2's class token has no position; everything else has the names of
transformers. Sizes are read from the tensors. Nothing is left out silently: what no part
reads (each tower's last layer, norm and pooling) is listed in `_UNREAD`, anything else that is
missing or left over is an error. Facts: the repository's modeling_prismatic.py, timm 0.9.10.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from policies.backbones import language_config
from policies.backbones.checkpoint import choose_tokenizer, load_tokenizer, read_part
from policies.backbones.parts import Parts
from policies.backbones.prismatic import SIZES, assemble
from policies.backbones.prismatic_file import find_file, read_file
from vla.errors import CheckpointError

_TOWERS = {"vision_backbone.featurizer.": "dino", "vision_backbone.fused_featurizer.": "siglip"}
_LAYER = {  # timm's name in a block: transformers' name in DINOv2, in SigLIP
    "norm1.": ("norm1.", "layer_norm1."),
    "attn.proj.": ("attention.output.dense.", "self_attn.out_proj."),
    "ls1.scale_factor": ("layer_scale1.lambda1", ""),
    "ls1.gamma": ("layer_scale1.lambda1", ""),
    "norm2.": ("norm2.", "layer_norm2."),
    "mlp.": ("mlp.", "mlp."),
    "ls2.scale_factor": ("layer_scale2.lambda1", ""),
    "ls2.gamma": ("layer_scale2.lambda1", ""),
}
_UNREAD = re.compile(r"(norm|fc_norm|attn_pool|head)\..*")


def read(config: language_config.PrismaticConfig) -> Parts:
    """Read the folder or hub repository `config.name`.

    Raises:
        CheckpointError: when it cannot be read, lacks tensors or has others.
    """
    folder = Path(config.name)
    if not folder.is_dir():
        patterns = ["*.json", "*.safetensors", "*.model", "checkpoints/*.pt"]
        folder = Path(
            read_part(
                config,
                lambda name, revision, **_: snapshot_download(
                    name, revision=revision, allow_patterns=patterns
                ),
            )
        )
    if find_file(folder) is None:
        described, stored = _describe(config.name, folder), dict(_tensors(config.name, folder))
        tokenizer = load_tokenizer(config)
    else:
        described, stored = read_file(folder)
        tokenizer = _load_tokenizer(config, folder)
    dtype = getattr(torch, config.dtype)
    weights = {name: value.to(dtype) for name, value in stored.items()}
    numbers = {
        "dino": {**SIZES["7b"]["dino"], **_measure(weights, "dino")},
        "siglip": {**SIZES["7b"]["siglip"], **_measure(weights, "siglip")},
    }
    with torch.device("meta"):  # no memory and no random numbers for what is read anyway
        parts = assemble(config, numbers, described, tokenizer)
    _fill(config.name, parts, weights)
    return parts


def _load_tokenizer(config: language_config.PrismaticConfig, folder: Path) -> Any:
    """Prismatic's own files come without a tokenizer, which is Llama 2's."""
    if not config.tokenizer and not (folder / "tokenizer_config.json").is_file():
        raise CheckpointError(
            f"{config.name!r} holds no tokenizer. Give one like that of openvla/openvla-7b (folder "
            "or hub name) in policy.tokenizer, or copy its tokenizer files into the folder."
        )
    return choose_tokenizer(replace(config, tokenizer=config.tokenizer or str(folder)))


def _describe(name: str, folder: Path) -> dict[str, Any]:
    """The language model's part of config.json."""
    path = folder / "config.json"
    try:
        text = json.loads(path.read_text())["text_config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{name!r} is no OpenVLA checkpoint: {path} cannot be read or has no text_config "
            f"({error!r}). Take a folder like openvla/openvla-7b."
        ) from error
    if text.get("model_type") != "llama":
        raise CheckpointError(
            f"{name!r}: its language model is {text.get('model_type')!r}; prismatic takes llama."
        )
    return {key: value for key, value in text.items() if key not in ("model_type", "torch_dtype")}


def _tensors(name: str, folder: Path) -> Iterator[tuple[str, Tensor]]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{name!r} has no *.safetensors; fetch the checkpoint again.")
    for path in files:
        with safe_open(path, framework="pt") as shard:
            for key in shard.keys():  # noqa: SIM118 - not a dict
                yield key, shard.get_tensor(key)


def _measure(weights: dict[str, Tensor], tower: str) -> dict[str, int]:
    """Sizes of one tower that its tensors tell; the number of heads they do not."""
    (prefix,) = (key for key, value in _TOWERS.items() if value == tower)
    try:
        patch = weights[prefix + "patch_embed.proj.weight"]
        hidden = weights[prefix + "blocks.0.mlp.fc1.weight"].shape[0]
        patches = weights[prefix + "pos_embed"].shape[1]
    except KeyError as error:
        raise CheckpointError(f"No tensor {error}; this is no OpenVLA checkpoint.") from error
    width, cell = patch.shape[0], patch.shape[-1]
    blocks = {int(key.split(".")[3]) for key in weights if key.startswith(f"{prefix}blocks.")}
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": len(blocks),
        "image_size": round(patches**0.5) * cell,
        "patch_size": cell,
        # timm's models of both kinds: 64 channels per head in DINOv2 L, 72 in SigLIP So400m
        "num_attention_heads": max(1, width // (64 if tower == "dino" else 72)),
    }
    if tower == "dino":
        registers = weights[prefix + "reg_token"].shape[1]
        return {**sizes, "mlp_ratio": hidden // width, "num_register_tokens": registers}
    return {**sizes, "intermediate_size": hidden}


def _fill(name: str, parts: Parts, weights: dict[str, Tensor]) -> None:
    """Put each tensor where it belongs, and back what only the meta device left empty."""
    whole = nn.ModuleDict(
        {"vision": parts.tower.vision, "projector": parts.tower.projector, "decoder": parts.decoder}
    )
    if parts.output is not None:
        whole["output"] = parts.output
    depth = {
        "dino": len(parts.tower.vision["dino"].encoder.layer),
        "siglip": len(parts.tower.vision["siglip"].vision_model.encoder.layers),
    }
    renamed = dict(pair for key, value in weights.items() for pair in rename(key, value, depth))
    try:
        report = whole.load_state_dict(renamed, strict=False, assign=True)
    except RuntimeError as error:  # other shapes, all of them listed
        raise CheckpointError(f"{name!r} does not fit its config.json: {error}.") from error
    for what, keys in (("missing", report.missing_keys), ("unexpected", report.unexpected_keys)):
        if keys:
            raise CheckpointError(
                f"{name!r}: {len(keys)} {what} tensors, e.g. {sorted(keys)[0]}; this is no "
                "OpenVLA checkpoint, or it is not complete."
            )
    parts.decoder.rotary_emb = LlamaRotaryEmbedding(parts.decoder.config)
    places = parts.tower.vision["siglip"].vision_model.embeddings
    places.position_ids = torch.arange(places.num_positions).expand(1, -1)
    if parts.tower.films is not None:
        parts.tower.films.to_empty(device="cpu")
        for weight in parts.tower.films.parameters():
            nn.init.zeros_(weight)


def rename(key: str, value: Tensor, depth: dict[str, int]) -> Iterator[tuple[str, Tensor]]:
    """OpenVLA's tensors under our names: some are cut in three, some are not read at all."""
    if key.startswith("projector."):
        yield key, value
        return
    if key.startswith("language_model."):
        rest = key.removeprefix("language_model.")
        yield rest.replace("model.", "decoder.", 1).replace("lm_head.", "output."), value
        return
    for prefix, tower in _TOWERS.items():
        if key.startswith(prefix):
            yield from _rename_tower(key.removeprefix(prefix), value, tower, depth[tower])
            return
    yield key, value  # unknown: reported as unexpected


def _rename_tower(key: str, value: Tensor, tower: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    dino = tower == "dino"
    top = "vision.dino." if dino else "vision.siglip.vision_model."
    block = re.match(r"blocks\.(\d+)\.(.*)", key)
    if block is None:
        yield from _rename_stem(key, value, top, dino=dino)
        return
    index, rest = int(block[1]), block[2]
    if index >= depth:
        return  # the last layer: nobody reads it
    layer = f"{top}encoder.{'layer' if dino else 'layers'}.{index}."
    if rest.startswith("attn.qkv."):
        names = ("query", "key", "value") if dino else ("q_proj", "k_proj", "v_proj")
        where = "attention.attention" if dino else "self_attn"
        for name, part in zip(names, value.chunk(3), strict=True):
            yield f"{layer}{where}.{name}.{rest.removeprefix('attn.qkv.')}", part.clone()
        return
    for old, new in _LAYER.items():
        if rest.startswith(old):
            yield layer + new[0 if dino else 1] + rest.removeprefix(old), value
            return
    yield layer + rest, value  # unknown: reported as unexpected


def _rename_stem(key: str, value: Tensor, top: str, *, dino: bool) -> Iterator[tuple[str, Tensor]]:
    if _UNREAD.fullmatch(key):
        return
    kind = key.split(".")[0]
    if kind == "patch_embed":
        name = "patch_embeddings.projection." if dino else "patch_embedding."
        yield f"{top}embeddings.{name}{key.rsplit('.', 1)[1]}", value
    elif kind == "pos_embed" and dino:
        nothing = value.new_zeros(1, 1, value.shape[-1])  # the class token has no position
        yield f"{top}embeddings.position_embeddings", torch.cat([nothing, value], dim=1)
    elif kind == "pos_embed":
        yield f"{top}embeddings.position_embedding.weight", value[0]
    else:
        name = {"cls_token": "cls_token", "reg_token": "register_tokens"}.get(kind, key)
        yield f"{top}embeddings.{name}", value
