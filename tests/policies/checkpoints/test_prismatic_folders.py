"""OpenVLA-OFT and CogACT in their public layouts: torch files, read whole or not at all."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from policies.backbones.language_config import PrismaticConfig
from policies.backbones.pixels import fit
from policies.backbones.word_pieces import make_tokenizer
from policies.checkpoints.bodies import find_body
from policies.checkpoints.config import PublicConfig
from policies.checkpoints.recognition import read
from tests.policies.backbones.test_openvla import DINO, LANGUAGE, SIGLIP, source, to_timm
from vla.embodiment import Camera
from vla.errors import CheckpointError, ConfigError, EmbodimentMismatch, StatisticsError
from vla.types import Observation

__all__ = ["source"]  # a fixture
WIDTH, AXES = 96, 7
LOW, HIGH = [-0.02, -0.03, -0.04, -0.1, -0.1, -0.2, 0.0], [0.03, 0.03, 0.04, 0.1, 0.1, 0.2, 1.0]
ACTION = {"q01": LOW, "q99": HIGH, "mask": [True] * 6 + [False]}
PROPRIO = {"q01": [-1.0] * 7, "q99": [1.5] * 7}
WORDS = "In: What action should the robot take to pick up the cube?\nOut: "


def write_statistics(folder, **known):
    (folder / "dataset_statistics.json").write_text(json.dumps(known))


def draw(*sizes, seed):
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed)) * 0.1


def make_linear(name, inputs, outputs, seed):
    return {
        f"{name}.weight": draw(outputs, inputs, seed=seed),
        f"{name}.bias": draw(outputs, seed=seed + 1),
    }


def make_norm(name, width, seed):
    return {f"{name}.weight": 1 + draw(width, seed=seed), f"{name}.bias": draw(width, seed=seed)}


@pytest.fixture
def oft(source, tmp_path):
    """moojink/openvla-7b-oft-finetuned-...: a merged OpenVLA and two torch files."""
    save_file(to_timm(source.state_dict()), tmp_path / "model.safetensors")
    settings = {"model_type": "openvla", "text_config": LANGUAGE, "norm_stats": {}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    make_tokenizer().save_pretrained(tmp_path)
    head = {
        **make_norm("layer_norm1", WIDTH * AXES, 1),
        **make_linear("fc1", WIDTH * AXES, 48, 2),
        **make_norm("layer_norm2", 48, 4),
        **make_linear("fc2", 48, AXES, 5),
    }
    for k in range(2):
        head |= make_norm(f"mlp_resnet_blocks.{k}.ffn.0", 48, 10 + k)
        head |= make_linear(f"mlp_resnet_blocks.{k}.ffn.1", 48, 48, 20 + 2 * k)
    head = {f"module.model.{name}": x.bfloat16() for name, x in head.items()}
    state = make_linear("module.fc1", 7, WIDTH, 30) | make_linear("module.fc2", WIDTH, WIDTH, 32)
    torch.save(head, tmp_path / "action_head--50000_checkpoint.pt")
    torch.save(state, tmp_path / "proprio_projector--50000_checkpoint.pt")
    write_statistics(tmp_path, bridge_orig={"action": ACTION, "proprio": PROPRIO})
    return tmp_path


def make_body(*cameras):
    views = {name: Camera(height=70, width=70) for name in cameras}
    return replace(find_body("bridge_orig"), cameras=views)


def observe(body, seed=0):
    rng = np.random.default_rng(seed)
    return Observation(
        images={
            name: rng.integers(0, 256, (1, 70, 70, 3), dtype=np.uint8) for name in body.cameras
        },
        state=rng.uniform(-0.9, 1.4, size=(1, 7)).astype(np.float32),
        instruction="Pick up the cube.",
        time=0.0,
    )


def load_llama(weights, **settings):
    """transformers' own Llama, filled from OpenVLA's names."""
    settings = {key: value for key, value in LANGUAGE.items() if key != "model_type"} | settings
    whole = LlamaForCausalLM(LlamaConfig(**settings, attn_implementation="eager")).eval()
    whole.load_state_dict(
        {
            name.removeprefix("language_model."): x
            for name, x in weights.items()
            if name.startswith("language_model.")
        }
    )
    return whole


def unnormalize(rows):
    low, high, mask = np.array(LOW), np.array(HIGH), np.array(ACTION["mask"])
    return np.where(mask, 0.5 * (rows + 1) * (high - low) + low, rows)


def require_plan(policy, observation, rows):
    (chunk,) = policy.act([observation], seeds=[3])
    assert chunk.actions.shape == rows.shape
    axes = policy.embodiment.action
    want = np.clip(unnormalize(rows), [axis.low for axis in axes], [axis.high for axis in axes])
    np.testing.assert_allclose(chunk.actions, want, atol=2e-6)
    assert np.ptp(chunk.actions[:, :6], axis=0).min() > 0


@torch.no_grad()
def predict_oft(policy, source, folder, observation, cameras):
    """`_regression_or_discrete_prediction` and the L1 head, by plain functions of their weights."""
    whole = load_llama(to_timm(source.state_dict()))  # no action goes through its output layer
    seen = []
    for name in cameras:
        pixels = fit(torch.from_numpy(observation.images[name]), 70, "crop")
        seen.append(policy.backbone.tower(pixels, torch.zeros(1, WIDTH))[0])
    # torch's own reader is what ours is held against; this test wrote the files.
    files = {part: torch.load(next(folder.glob(f"{part}*"))) for part in ("action", "proprio")}
    head, state = ({n.removeprefix("module."): x.float() for n, x in f.items()}
                   for f in files.values())  # fmt: skip
    low, high = torch.tensor(PROPRIO["q01"]), torch.tensor(PROPRIO["q99"])
    told = 2 * (torch.from_numpy(observation.state) - low) / (high - low + 1e-8) - 1
    token = F.gelu(F.linear(told.clip(-1, 1), state["fc1.weight"], state["fc1.bias"]))
    token = F.linear(token, state["fc2.weight"], state["fc2.bias"])[None]
    ids = make_tokenizer()(WORDS, add_special_tokens=False, return_tensors="pt").input_ids
    embed, rows = whole.get_input_embeddings(), 5
    tokens = torch.cat(
        [
            embed(torch.tensor([[1]])), *seen, token, embed(ids),
            torch.zeros(1, rows * AXES, WIDTH), embed(torch.tensor([[2]])),
        ], dim=1,
    )  # fmt: skip
    all_see_all = torch.zeros(1, 1, tokens.shape[1], tokens.shape[1])
    hidden = whole.model(inputs_embeds=tokens, attention_mask=all_see_all).last_hidden_state
    begin = tokens.shape[1] - rows * AXES - 2  # each is told one place ahead
    x = hidden[:, begin : begin + rows * AXES].reshape(1, rows, -1)

    def norm(x, name):
        weight, bias = (head[f"model.{name}.{part}"] for part in ("weight", "bias"))
        return F.layer_norm(x, weight.shape, weight, bias)

    def linear(x, name):
        return F.linear(x, head[f"model.{name}.weight"], head[f"model.{name}.bias"])

    x = F.relu(linear(norm(x, "layer_norm1"), "fc1"))
    for k in range(2):
        name = f"mlp_resnet_blocks.{k}.ffn"
        x = x + F.relu(linear(norm(x, f"{name}.0"), f"{name}.1"))
    return linear(norm(x, "layer_norm2"), "fc2")[0].numpy()


def test_oft_plans_what_its_code_would(source, oft, monkeypatch):
    body = make_body("wrist", "front")
    cameras = ["wrist", "front"]  # not the order of their names
    config = PublicConfig(path=str(oft), key="bridge_orig", cameras=dict.fromkeys(cameras, ""))
    policy = read(config, body).build().eval()
    assert (policy.horizon, policy.config.head.blocks) == (5, 2)
    for seed in range(2):
        rows = predict_oft(policy, source, oft, observe(body, seed), cameras)
        require_plan(policy, observe(body, seed), rows)
    # one that saw no state: nothing of it may be left
    (oft / "proprio_projector--50000_checkpoint.pt").unlink()
    blind = read(config, body).build().eval()
    one, two = observe(body), replace(observe(body), state=np.zeros((1, 7), np.float32))
    chunks = blind.act([one, two], seeds=[0, 0])
    np.testing.assert_array_equal(chunks[0].actions, chunks[1].actions)


def test_oft_is_read_whole_or_not_at_all(oft):
    body = make_body("front")

    def load(**options):
        return read(PublicConfig(path=str(oft), key="bridge_orig", **options), body)

    assert load(rows=3).config.horizon == 3
    path = oft / "action_head--50000_checkpoint.pt"
    head = torch.load(path)  # this test wrote it
    name = "module.model.fc2.weight"
    torch.save({k: v for k, v in head.items() if k != name}, path)
    with pytest.raises(CheckpointError, match=r"lacks \['fc2\.weight'\]"):
        load()
    torch.save(head | {"module.model.alien": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match=r"unknown \['alien'\]"):
        load()
    torch.save(head | {"module.model.layer_norm1.bias": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match="nothing was loaded"):
        load().build()
    torch.save(head, path)
    torch.save(head, oft / "action_head--60000_checkpoint.pt")
    with pytest.raises(CheckpointError, match="2 files"):
        load()
    (oft / "action_head--60000_checkpoint.pt").unlink()
    with pytest.raises(EmbodimentMismatch, match="state"):
        read(PublicConfig(path=str(oft), key="bridge_orig"), replace(body, state=body.state[:6]))
    variants = {"vision_backbone--1.pt": r"OFT\+", "noisy_action_projector--1.pt": "diffusion"}
    for file, told in variants.items():
        (oft / file).write_bytes(b"")
        with pytest.raises(CheckpointError, match=told):
            load()
        (oft / file).unlink()
    write_statistics(oft, mine={"action": ACTION, "proprio": PROPRIO})
    with pytest.raises(ConfigError, match=r"policy\.rows"):
        read(PublicConfig(path=str(oft)), replace(body, name="mine"))


def to_prismatic(weights):
    """OpenVLA's names as Prismatic's own files have them."""
    own = {}
    for name, x in weights.items():
        for ours, theirs in (
            (DINO, "vision_backbone.dino_featurizer."),
            (SIGLIP, "vision_backbone.siglip_featurizer."),
            ("language_model.", "llm_backbone.llm."),
            *((f"projector.fc{k + 1}.", f"projector.projector.{2 * k}.") for k in range(3)),
        ):
            if name.startswith(ours):
                part, _, rest = (theirs + name.removeprefix(ours)).partition(".")
                own.setdefault(part, {})[rest.replace("scale_factor", "gamma")] = x
                break
    return own


@pytest.fixture
def cogact(source, monkeypatch, tmp_path):
    """CogACT/CogACT-Base: everything in one torch file; Llama's heads are counted by width."""
    weights = to_timm(source.state_dict())
    for name in [one for one in weights if one.endswith(("k_proj.weight", "v_proj.weight"))]:
        weights[name] = draw(WIDTH, WIDTH, seed=len(name))
    width, rows = 64, 4
    net = {
        "positional_embedding": draw(rows + 1, width, seed=1),
        "z_embedder.uncondition": draw(1, WIDTH, seed=2),
        **make_linear("x_embedder.linear", AXES, width, 3),
        **make_linear("history_embedder.linear", AXES, width, 5),
        **make_linear("t_embedder.mlp.0", 256, width, 7),
        **make_linear("t_embedder.mlp.2", width, width, 9),
        **make_linear("z_embedder.linear", WIDTH, width, 11),
        **make_linear("final_layer.linear", width, AXES, 13),
    }
    for k in range(2):
        for name, sizes in {
            "attn.qkv": (width, 3 * width), "attn.proj": (width, width),
            "mlp.fc1": (width, 4 * width), "mlp.fc2": (4 * width, width),
        }.items():  # fmt: skip
            net |= make_linear(f"blocks.{k}.{name}", *sizes, 20 + 10 * k + len(name))
    parts = to_prismatic(weights)
    parts["action_model"] = {f"net.{name}": x for name, x in net.items()}
    parts["ema_diffusion"] = parts["action_model"]
    (tmp_path / "checkpoints").mkdir()
    torch.save({"model": parts}, tmp_path / "checkpoints" / "CogACT-Base.pt")
    (tmp_path / "config.json").write_text(json.dumps({"vla": {"base_vlm": "prism"}, "seed": 42}))
    make_tokenizer().save_pretrained(tmp_path / "tokenizer")
    write_statistics(tmp_path, bridge_orig={"action": ACTION}, other={"action": ACTION})
    return tmp_path, weights, net


@torch.no_grad()
def predict_cogact(policy, weights, net, observation, seed):
    """`predict_action` with DDIM: transformers' Llama, plain functions, diffusers' scheduler."""
    whole = load_llama(
        weights, num_attention_heads=1, num_key_value_heads=1, rms_norm_eps=1e-5, pad_token_id=None
    )
    pixels = torch.from_numpy(observation.images["front"]).movedim(-1, 1) / 255
    (seen,) = policy.backbone.tower(pixels, torch.zeros(1, WIDTH))
    ids = make_tokenizer()(WORDS, add_special_tokens=False, return_tensors="pt").input_ids
    embed = whole.get_input_embeddings()
    tokens = [embed(torch.tensor([[1]])), seen, embed(ids), embed(torch.tensor([[2]]))]
    z = whole.model(inputs_embeds=torch.cat(tokens, dim=1)).last_hidden_state[:, -1:]
    z = torch.cat([z, net["z_embedder.uncondition"][None]])

    def linear(x, name):
        return F.linear(x, net[f"{name}.weight"], net[f"{name}.bias"])

    def norm(x):
        return F.layer_norm(x, (64,), eps=1e-6)

    def answer(x, step):
        half = torch.exp(-math.log(10000) * torch.arange(128) / 128) * step
        t = torch.cat([half.cos(), half.sin()])[None]
        t = linear(F.silu(linear(t, "t_embedder.mlp.0")), "t_embedder.mlp.2")
        first = t[:, None] + linear(z, "z_embedder.linear")
        x = torch.cat([first, linear(x.expand(2, -1, -1), "x_embedder.linear")], dim=1)
        x = x + net["positional_embedding"]
        for k in range(2):
            q, key, v = linear(norm(x), f"blocks.{k}.attn.qkv").chunk(3, dim=-1)
            seen = (q @ key.transpose(1, 2) / 8).softmax(dim=-1) @ v  # one head of 64
            x = x + linear(seen, f"blocks.{k}.attn.proj")
            mlp = F.gelu(linear(norm(x), f"blocks.{k}.mlp.fc1"), approximate="tanh")
            x = x + linear(mlp, f"blocks.{k}.mlp.fc2")
        known, blind = linear(norm(x), "final_layer.linear")[:, 1:]
        return blind + 1.5 * (known - blind)

    scheduler = DDIMScheduler(
        100, beta_schedule="squaredcos_cap_v2", clip_sample=False, timestep_spacing="leading"
    )
    scheduler.set_timesteps(10)
    x = torch.randn(1, 4, AXES, generator=torch.Generator().manual_seed(seed))
    for step in scheduler.timesteps:
        x = scheduler.step(answer(x, step)[None], step, x).prev_sample
    return x[0].clip(-1, 1).numpy()


def test_cogact_plans_what_its_code_would(cogact):
    folder, weights, net = cogact
    body = make_body("front")
    options = {"path": str(folder), "tokenizer": str(folder / "tokenizer")}
    policy = read(PublicConfig(key="bridge_orig", **options), body).build().eval()
    assert policy.horizon == 4
    observation = observe(body)
    rows = predict_cogact(policy, weights, net, observation, seed=3)
    assert np.abs(rows).max() > 0.1
    require_plan(policy, observation, rows)
    with pytest.raises(ConfigError, match="bridge_orig, other"):
        read(PublicConfig(**options), body)
    with pytest.raises(CheckpointError, match=r"policy\.tokenizer"):
        read(PublicConfig(path=str(folder), key="other"), body).build()
    with pytest.raises(EmbodimentMismatch, match="one camera"):
        read(PublicConfig(key="other", **options), make_body("front", "wrist"))


def test_cogact_is_read_whole_or_not_at_all(cogact):
    folder, weights, net = cogact
    body, path = make_body("front"), folder / "checkpoints" / "CogACT-Base.pt"
    config = PublicConfig(path=str(folder), key="bridge_orig", tokenizer=str(folder / "tokenizer"))

    def write(parts):
        torch.save({"model": parts}, path)

    parts = to_prismatic(weights)
    action = {f"net.{name}": x for name, x in net.items()}
    write(parts)
    with pytest.raises(CheckpointError, match="no action model"):
        read(config, body)
    lacking = {k: v for k, v in action.items() if "blocks.1.mlp.fc2.bias" not in k}
    for other, told in (
        (lacking, r"lacks \['blocks\.1\.mlp\.fc2\.bias'\]"),
        (action | {"net.alien": torch.ones(1)}, r"unknown \['alien'\]"),
    ):
        write({**parts, "action_model": other})
        with pytest.raises(CheckpointError, match=told):
            read(config, body)
    write({**parts, "action_model": action | {"net.z_embedder.linear.weight": torch.ones(64, 9)}})
    with pytest.raises(CheckpointError, match=r"head\.denoiser\.understand\.weight"):
        read(config, body).build()
    write({**parts, "action_model": action, "alien": {"weight": torch.ones(1)}})
    with pytest.raises(CheckpointError, match=r"unknown tensors.*model\.alien\.weight"):
        read(config, body).build()
    vision = {k: v for k, v in parts["vision_backbone"].items() if "patch_embed.proj.bias" not in k}
    write({**parts, "vision_backbone": vision, "action_model": action})
    with pytest.raises(CheckpointError, match="missing tensors"):
        read(config, body).build()
    write({**parts, "action_model": action})
    flat = {"q01": LOW, "q99": LOW}
    write_statistics(folder, bridge_orig={"action": flat})
    with pytest.raises(StatisticsError, match="did not move"):
        read(config, body)
    torch.save({"model": parts}, folder / "checkpoints" / "other.pt")
    with pytest.raises(CheckpointError, match="several checkpoints"):
        read(config, body).build()


def test_what_oft_needs_is_refused_elsewhere():
    with pytest.raises(ConfigError, match="bidirectional"):
        PrismaticConfig(readout="ahead")
    picture = torch.zeros(1, 100, 200, 3, dtype=torch.uint8)
    picture[:, 3:97, 5:195] = 255  # the central nine tenths, and half a percent more
    assert fit(picture, 50, "crop").min() > 0.999
    assert fit(picture, 50, "stretch").min() == 0
    with pytest.raises(ConfigError, match="rows"):
        PublicConfig(rows=-1)
