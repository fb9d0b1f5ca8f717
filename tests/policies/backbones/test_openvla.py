"""OpenVLA's weights: a tiny model written under its names comes back as the same model."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.backbones.word_pieces import make_tokenizer
from tests.policies.backbones.language_samples import TEXTS, build, make_images
from vla.errors import CheckpointError

DINO, SIGLIP = "vision_backbone.featurizer.", "vision_backbone.fused_featurizer."
LANGUAGE = {
    "model_type": "llama",
    "vocab_size": 1024,
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
}


def to_timm(state):
    """Our weights under OpenVLA's names, with what nobody reads made up."""
    out = {}
    for key, value in state.items():
        if key.startswith("decoder."):
            out["language_model.model." + key.removeprefix("decoder.")] = value
        elif key.startswith("tower.projector."):
            out[key.removeprefix("tower.")] = value
    out["language_model.lm_head.weight"] = torch.randn(1024, 96)
    pick = {key.removeprefix("tower.vision."): v for key, v in state.items() if "vision" in key}
    emb, layer = "dino.embeddings.", "dino.encoder.layer."
    out[DINO + "cls_token"] = pick[emb + "cls_token"]
    out[DINO + "reg_token"] = pick[emb + "register_tokens"]
    out[DINO + "pos_embed"] = pick[emb + "position_embeddings"][:, 1:]
    semb, slayer = "siglip.vision_model.embeddings.", "siglip.vision_model.encoder.layers."
    out[SIGLIP + "pos_embed"] = pick[semb + "position_embedding.weight"][None]
    for end in ("weight", "bias"):
        out[f"{DINO}patch_embed.proj.{end}"] = pick[f"{emb}patch_embeddings.projection.{end}"]
        out[f"{SIGLIP}patch_embed.proj.{end}"] = pick[f"{semb}patch_embedding.{end}"]
        out[f"{DINO}norm.{end}"] = torch.ones(64)
        out[f"{SIGLIP}attn_pool.q.{end}"] = torch.ones(64)
        for k in range(3):  # the third one is read by nobody
            one, two = f"{layer}{min(k, 1)}.", f"{slayer}{min(k, 1)}."
            a, b = f"{DINO}blocks.{k}.", f"{SIGLIP}blocks.{k}."
            parts = [pick[f"{one}attention.attention.{n}.{end}"] for n in ("query", "key", "value")]
            out[f"{a}attn.qkv.{end}"] = torch.cat(parts)
            parts = [pick[f"{two}self_attn.{n}_proj.{end}"] for n in "qkv"]
            out[f"{b}attn.qkv.{end}"] = torch.cat(parts)
            out[f"{a}attn.proj.{end}"] = pick[f"{one}attention.output.dense.{end}"]
            out[f"{b}attn.proj.{end}"] = pick[f"{two}self_attn.out_proj.{end}"]
            for n in (1, 2):
                out[f"{a}ls{n}.scale_factor"] = pick[f"{one}layer_scale{n}.lambda1"]
                out[f"{a}norm{n}.{end}"] = pick[f"{one}norm{n}.{end}"]
                out[f"{b}norm{n}.{end}"] = pick[f"{two}layer_norm{n}.{end}"]
                out[f"{a}mlp.fc{n}.{end}"] = pick[f"{one}mlp.fc{n}.{end}"]
                out[f"{b}mlp.fc{n}.{end}"] = pick[f"{two}mlp.fc{n}.{end}"]
    return {key: value.clone().contiguous() for key, value in out.items()}


@pytest.fixture
def source(monkeypatch):
    """One head per tower, as the widths say; a plain class position, as timm has it."""
    from policies.backbones import prismatic

    sizes = {key: dict(value) for key, value in prismatic.SIZES["tiny"].items()}
    sizes["dino"]["num_attention_heads"] = sizes["siglip"]["num_attention_heads"] = 1
    sizes["siglip"]["hidden_act"] = "gelu"
    monkeypatch.setitem(prismatic.SIZES, "tiny", sizes)
    backbone = build("prismatic", state="none", side=70)
    with torch.no_grad():
        backbone.tower.vision["dino"].embeddings.position_embeddings[:, 0] = 0
    return backbone


@pytest.fixture
def folder(source, tmp_path):
    save_file(to_timm(source.state_dict()), tmp_path / "model.safetensors")
    described = {"model_type": "openvla", "text_config": LANGUAGE}
    (tmp_path / "config.json").write_text(json.dumps(described))
    make_tokenizer().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("film", [False, True])
def test_the_same_model_comes_back(source, folder, film):
    read = build("prismatic", name=str(folder), state="none", side=70, seed=5, film=film)
    assert not any(t.is_meta for t in (*read.parameters(), *read.buffers()))
    images = make_images(70, 3)
    with torch.no_grad():
        want, got = (b.encode(images, TEXTS, torch.zeros(3, 1, 1)) for b in (source, read))
    torch.testing.assert_close(got.tokens, want.tokens, atol=1e-5, rtol=1e-5)
    assert read.output.weight.shape == (1024, 96)


def test_missing_and_foreign_tensors_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    name = DINO + "blocks.0.norm1.weight"
    without = {key: value for key, value in weights.items() if key != name}
    save_file(without, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="1 missing tensors"):
        build("prismatic", name=str(folder))
    save_file({**weights, DINO + "blocks.0.alien": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 unexpected tensors.*alien"):
        build("prismatic", name=str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors"):
        build("prismatic", name=str(folder))
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="text_config"):
        build("prismatic", name=str(folder))
