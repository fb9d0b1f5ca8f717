"""OpenVLA's public layout, whole: weights, statistics by key, body, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from policies.backbones.word_pieces import make_tokenizer
from policies.checkpoints.bodies import find_body
from policies.checkpoints.config import PublicConfig
from policies.checkpoints.recognition import read
from tests.policies.backbones.test_openvla import LANGUAGE, source, to_timm
from vla.embodiment import Camera
from vla.errors import (
    CheckpointError,
    ConfigError,
    EmbodimentMismatch,
    StatisticsError,
    UnknownChoice,
)
from vla.types import Observation

__all__ = ["source"]  # a fixture
LOW, HIGH = [-0.02, -0.03, -0.04, -0.1, -0.1, -0.2, 0.0], [0.03, 0.03, 0.04, 0.1, 0.1, 0.2, 1.0]
BRIDGE = {"action": {"q01": LOW, "q99": HIGH, "mask": [True] * 6 + [False]}}
OTHER = {"action": {"q01": [0.0] * 7, "q99": [1.0] * 7}}


@pytest.fixture
def folder(source, tmp_path):
    """Two shards, statistics of two data sets in config.json."""
    weights = to_timm(source.state_dict())
    names = sorted(weights)
    for index, part in enumerate((names[::2], names[1::2]), 1):
        save_file(
            {name: weights[name] for name in part},
            tmp_path / f"model-{index:05d}-of-00002.safetensors",
        )
    settings = {
        "model_type": "openvla",
        "text_config": LANGUAGE,
        "n_action_bins": 256,
        "pad_to_multiple_of": 0,
        "norm_stats": {"bridge_orig": BRIDGE, "my_set": OTHER},
    }
    (tmp_path / "config.json").write_text(json.dumps(settings))
    make_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def make_body(side=70):
    return replace(find_body("bridge_orig"), cameras={"front": Camera(height=side, width=side)})


def load(folder, key="bridge_orig", body=None, **options):
    return read(PublicConfig(path=str(folder), key=key, **options), body or make_body())


def observe(seed=0):
    rng = np.random.default_rng(seed)
    return Observation(
        images={"front": rng.integers(0, 256, (1, 70, 70, 3), dtype=np.uint8)},
        state=rng.normal(size=(1, 7)).astype(np.float32),
        instruction="Pick up the cube",
        time=0.0,
    )


@torch.no_grad()
def predict_there(policy, folder, observation):
    """What OpenVLA's `predict_action` does, with transformers' own Llama and its `generate`."""
    settings = {key: value for key, value in LANGUAGE.items() if key != "model_type"}
    whole = LlamaForCausalLM(LlamaConfig(**settings)).eval()
    stored = {}
    for path in folder.glob("*.safetensors"):
        stored |= load_file(path)
    prefix = "language_model."
    whole.load_state_dict(
        {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
    )
    pixels = torch.from_numpy(observation.images["front"]).movedim(-1, 1) / 255
    (seen,) = policy.backbone.tower(pixels, torch.zeros(1, 96))
    words = "In: What action should the robot take to pick up the cube?\nOut: "
    ids = make_tokenizer()(words, add_special_tokens=False, return_tensors="pt").input_ids
    embed = whole.get_input_embeddings()
    read_so_far = torch.cat([embed(torch.tensor([[1]])), seen, embed(ids)], dim=1)
    legal = list(range(1024 - 256, 1024))  # random weights would write anything else
    written = whole.generate(
        inputs_embeds=read_so_far,
        attention_mask=torch.ones(read_so_far.shape[:2], dtype=torch.int64),
        max_new_tokens=7,
        min_new_tokens=7,
        do_sample=False,
        pad_token_id=0,
        prefix_allowed_tokens_fn=lambda *_: legal,
    )[0].numpy()
    bins = np.linspace(-1, 1, 256)
    centers = (bins[:-1] + bins[1:]) / 2
    normal = centers[np.clip(1024 - written - 1, 0, 254)]
    low, high, mask = np.array(LOW), np.array(HIGH), np.array(BRIDGE["action"]["mask"])
    return np.where(mask, 0.5 * (normal + 1) * (high - low) + low, normal)


def test_it_plans_what_openvla_would(folder):
    policy = load(folder).build().eval()
    assert (policy.horizon, policy.embodiment.hz) == (1, 5.0)
    assert len({observe(k).images["front"].sum() for k in range(3)}) == 3
    for seed in range(3):
        (chunk,) = policy.act([observe(seed)], seeds=[0])
        want = predict_there(policy, folder, observe(seed))
        np.testing.assert_allclose(chunk.actions[0, :6], want[:6], atol=1e-6)
        # the gripper is not normalised; our chunk keeps to the body's bounds, 0 to 1
        np.testing.assert_allclose(chunk.actions[0, 6], np.clip(want[6], 0, 1), atol=1e-6)


def test_statistics_must_be_chosen(folder):
    with pytest.raises(ConfigError, match="bridge_orig, my_set"):
        load(folder, key="")
    with pytest.raises(UnknownChoice, match="bridge_orig"):
        load(folder, key="bridge_org")
    # those of a fine-tuned folder replace them
    (folder / "dataset_statistics.json").write_text(json.dumps({"mine": OTHER}))
    assert load(folder, key="").weights["action_normalizer.scale"].tolist() == [0.5] * 7
    (folder / "dataset_statistics.json").write_text(json.dumps({"mine": {"action": {}}}))
    with pytest.raises(StatisticsError, match="q01"):
        load(folder, key="mine")
    flat = {"action": {"q01": LOW, "q99": LOW}}
    (folder / "dataset_statistics.json").write_text(json.dumps({"mine": flat}))
    with pytest.raises(StatisticsError, match="did not move"):
        load(folder, key="mine")


def test_another_body_is_refused(folder):
    body = make_body()
    turned = tuple(replace(axis, mode="absolute") for axis in body.action)
    with pytest.raises(EmbodimentMismatch, match="unit, mode"):
        load(folder, body=replace(body, action=turned))
    with pytest.raises(EmbodimentMismatch, match="7 action axes"):
        load(folder, key="my_set", body=replace(body, action=body.action[:6]))
    with pytest.raises(EmbodimentMismatch, match="one camera"):
        load(folder, body=replace(body, cameras={}))
    with pytest.raises(ConfigError, match=r"policy\.body"):
        read(PublicConfig(path=str(folder), key="my_set"), None)
    known = read(PublicConfig(path=str(folder), key="bridge_orig"), None).embodiment
    assert known.cameras["front"].height == 224
    # a body in a file counts more than the world's
    path = folder / "body.json"
    path.write_text(json.dumps({**body.to_json(), "name": "filed"}))
    assert load(folder, body=body, **{"key": "bridge_orig"}).embodiment.name != "filed"
    filed = read(PublicConfig(path=str(folder), key="bridge_orig", body=str(path)), body)
    assert filed.embodiment.name == "filed"


def test_other_tensors_are_refused(folder):
    shard = folder / "model-00001-of-00002.safetensors"
    weights = load_file(shard)
    name = "projector.fc1.weight"
    shard = shard if name in weights else folder / "model-00002-of-00002.safetensors"
    weights = load_file(shard)
    save_file({k: v for k, v in weights.items() if k != name}, shard)
    with pytest.raises(CheckpointError, match=r"1 missing tensors.*fc1"):
        load(folder).build()
    save_file({**weights, "alien": torch.ones(1)}, shard)
    with pytest.raises(CheckpointError, match=r"1 unexpected tensors.*alien"):
        load(folder).build()
    save_file({**weights, name: weights[name][:-1].contiguous()}, shard)
    with pytest.raises(CheckpointError, match=r"fc1\.weight"):
        load(folder).build()


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("300000/default/checkpoint", "JAX"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, file, told):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(CheckpointError, match=told):
        read(PublicConfig(path=str(tmp_path)), None)


def test_unknown_formats_are_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="none of the formats"):
        read(PublicConfig(path=str(tmp_path)), None)
    with pytest.raises(ConfigError, match=r"policy\.path"):
        read(PublicConfig(), None)
