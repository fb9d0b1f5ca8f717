"""LeRobot's layout without LeRobot: ours out and back in, and what is refused on the way."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from configs.export_job import ExportJob
from configs.exporting import export_policy
from configs.restoring import load_policy
from policies.backbones import paligemma
from policies.backbones.language_config import PaligemmaConfig, SmolvlmConfig
from policies.backbones.word_pieces import SIZE
from policies.checkpoints.config import PublicConfig
from policies.checkpoints.lerobot_export import export_lerobot
from policies.checkpoints.recognition import read, recognize
from policies.config import VlaPolicyConfig
from policies.heads.config_expert import ExpertConfig
from tests.policies.checkpoints.lerobot_samples import (
    LANES,
    make_body,
    save_tokenizer,
    scatter,
    shrink_pi,
    shrink_smolvla,
)
from tests.policies.samples import statistics
from vla.errors import CheckpointError, ConfigError, EmbodimentMismatch, StatisticsError

KINDS = ["pi0", "pi05", "smolvla"]


def make_policy(kind, words, monkeypatch):
    """A small one of ours in the shape of the public one."""
    plain = {"cameras": ["wrist", "front"], "tokenizer": str(words)}
    if kind == "smolvla":
        shrink_smolvla(monkeypatch)
        backbone = SmolvlmConfig(
            size="smolvla", layers=4, fit="pad_corner", language="frozen", vision="frozen",
            projector="frozen", **plain,
        )  # fmt: skip
        head = ExpertConfig(
            family="llama", joint_every=2, causal=True, state="none", lanes=LANES, width=24,
            mlp=256, layers=4,
        )  # fmt: skip
    else:
        shrink_pi(monkeypatch)
        paligemma.SIZES["pi"]["text_config"]["vocab_size"] = SIZE
        adaptive = kind == "pi05"
        backbone = PaligemmaConfig(
            size="pi", fit="pad_plain", state="text" if adaptive else "none", **plain
        )
        head = ExpertConfig(
            time="norm" if adaptive else "mlp", state="none" if adaptive else "token",
            lanes=LANES, width=16, mlp=48, layers=2,
        )  # fmt: skip
    mode = "quantile" if kind == "pi05" else "mean_std"
    config = VlaPolicyConfig(horizon=5, normalization=mode, backbone=backbone, head=head)
    body = make_body(kind)
    return scatter(config.build(body, statistics(body)))


@pytest.fixture
def words(tmp_path):
    return save_tokenizer(tmp_path / "words")


@pytest.fixture(params=KINDS)
def policy(request, words, monkeypatch):
    return make_policy(request.param, words, monkeypatch)


@pytest.fixture
def pi0(words, monkeypatch, tmp_path):
    """A folder and what reads it."""
    export_lerobot(make_policy("pi0", words, monkeypatch), tmp_path / "public")
    return tmp_path / "public", PublicConfig(path=str(tmp_path / "public"), tokenizer=str(words))


def test_out_and_back_in(policy, words, tmp_path):
    kind = export_lerobot(policy, tmp_path / "public")
    assert json.loads((tmp_path / "public" / "config.json").read_text())["type"] == kind
    found = read(PublicConfig(path=str(tmp_path / "public"), tokenizer=str(words)),
                 policy.embodiment)  # fmt: skip
    assert found.config == policy.config
    again = found.build()
    ours, theirs = policy.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, atol=1e-6, rtol=1e-6)


def test_it_becomes_a_checkpoint_of_ours(pi0, tmp_path):
    folder, config = pi0
    body = tmp_path / "body.json"
    body.write_text(json.dumps(make_body("pi0").to_json()))
    job = ExportJob(
        checkpoint=str(folder),
        format="vla",
        body=str(body),
        tokenizer=config.tokenizer,
        output=str(tmp_path / "x"),
    )
    export_policy(job)
    policy, digest = load_policy(str(tmp_path / "x"), device="cpu", embodiment=make_body("pi0"))
    assert len(digest) == 64
    want = config.build(make_body("pi0")).state_dict()
    for name, weight in policy.state_dict().items():
        assert torch.equal(weight, want[name]), name
    # and back to LeRobot's
    export_policy(replace(job, checkpoint=str(tmp_path / "x"), format="lerobot",
                          output=str(tmp_path / "y")))  # fmt: skip
    assert recognize(tmp_path / "y") == "lerobot"
    with pytest.raises(ConfigError, match="store="):
        ExportJob(output="z")


def test_tensors_that_do_not_fit_are_listed(pi0):
    folder, config = pi0
    path = folder / "model.safetensors"
    weights = load_file(path)
    body = make_body("pi0")
    prefix = "model.paligemma_with_expert."
    eyes = f"{prefix}paligemma.model.vision_tower.vision_model.post_layernorm.bias"
    layer = f"{prefix}gemma_expert.model.layers.1.mlp.up_proj.weight"
    for name in (eyes, layer):
        save_file({k: v for k, v in weights.items() if k != name}, path)
        with pytest.raises(CheckpointError, match=name.rsplit(".", 3)[1]):
            config.build(body)
        short = weights[name][:-1].contiguous()
        save_file(weights | {name: short}, path)
        with pytest.raises(CheckpointError, match=r"there, .* here"):
            config.build(body)
    for alien in (f"{prefix}alien", f"{prefix}gemma_expert.model.layers.7.alien", "action_x"):
        save_file(weights | {alien: torch.ones(1)}, path)
        with pytest.raises(CheckpointError, match=alien.rsplit(".", 1)[-1]):
            config.build(body)
    path.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="damaged"):
        config.build(body)


def test_another_body_is_refused(pi0):
    _, config = pi0
    with pytest.raises(EmbodimentMismatch, match="action: 4 axes there, 3"):
        config.build(make_body("pi0", axes=3))
    body = make_body("pi0")
    renamed = replace(body, cameras={"wrist": body.cameras["wrist"], "top": body.cameras["front"]})
    with pytest.raises(EmbodimentMismatch, match=r"observation\.images\.front"):
        config.build(renamed)
    mapped = replace(config, cameras={"top": "observation.images.front"})
    assert mapped.build(renamed).backbone.cameras == ["wrist", "top"]
    with pytest.raises(ConfigError, match=r"policy\.body"):
        read(config, None)


def test_options_we_do_not_have_are_refused(pi0):
    folder, config = pi0
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"use_relative_actions": True}))
    with pytest.raises(CheckpointError, match="policy=lerobot"):
        config.build(make_body("pi0"))


def test_a_base_model_can_be_trained_but_not_act(pi0):
    folder, config = pi0
    body = make_body("pi0")
    for path in folder.glob("policy_*"):
        path.unlink()
    with pytest.raises(StatisticsError, match="base model"):
        config.build(body)
    policy = config.build(body, statistics(body))
    assert policy.action_normalizer.filled


def test_what_lerobot_has_no_class_for(words, monkeypatch, tmp_path):
    policy = make_policy("pi0", words, monkeypatch)
    policy.config = replace(policy.config, history=2)
    with pytest.raises(ConfigError, match="history=1"):
        export_lerobot(policy, tmp_path / "public")
    assert not (tmp_path / "public").exists()


def test_openpi_layout(pi0, words):
    """The same tensors without LeRobot's prefix, openpi's config and statistics."""
    folder, config = pi0
    body = make_body("pi0")
    want = config.build(body)
    weights = load_file(folder / "model.safetensors")
    save_file({k.removeprefix("model."): v for k, v in weights.items()},
              folder / "model.safetensors")  # fmt: skip
    for path in folder.glob("policy_*"):
        path.unlink()
    told = {"action_dim": 32, "action_horizon": 5, "paligemma_variant": "gemma_2b",
            "action_expert_variant": "gemma_300m", "precision": "float32"}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(told))
    cameras = {"front": "base_0_rgb", "wrist": "left_wrist_0_rgb"}
    config = replace(config, cameras=cameras)
    with pytest.raises(EmbodimentMismatch, match="right_wrist_0_rgb"):
        read(replace(config, cameras={}), body)
    padded = {"mean": [0.5] * 4 + [0.0] * 28, "std": [2.0] * 4 + [0.0] * 28}
    state = {"mean": [0.0] * 3, "std": [1.0] * 3}
    for name in ("droid", "trossen"):
        (folder / "assets" / name).mkdir(parents=True)
        (folder / "assets" / name / "norm_stats.json").write_text(
            json.dumps({"norm_stats": {"state": state, "actions": padded}})
        )
    with pytest.raises(ConfigError, match="droid, trossen"):
        read(config, body)
    policy = read(replace(config, key="droid"), body).build()
    assert policy.backbone.cameras == ["front", "wrist"]
    assert policy.action_normalizer.scale.tolist() == pytest.approx([2.0] * 4)
    for name, weight in policy.head.state_dict().items():
        assert torch.equal(weight, want.head.state_dict()[name])
