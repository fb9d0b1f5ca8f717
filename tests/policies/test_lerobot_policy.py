"""LerobotPolicy on tiny ACT and Diffusion Policy checkpoints, written here by LeRobot itself."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.config import LerobotPolicyConfig
from vla.contract import Policy
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import CheckpointError, ConfigError, EmbodimentMismatch, ShapeError, StatisticsError
from vla.types import Observation

pytestmark = pytest.mark.slow  # importing LeRobot alone takes longer than most test files

IMAGE = "observation.images.top"
STATE = "observation.state"
CAMERAS = {"front": IMAGE}


def make_embodiment(state=3, action=2, size=64):
    return Embodiment(
        name="arm",
        state=tuple(Axis(name=f"q{k}", unit="rad", low=-4.0, high=4.0) for k in range(state)),
        action=tuple(Axis(name=f"dq{k}", unit="rad", low=-4.0, high=4.0) for k in range(action)),
        cameras={"front": Camera(height=size, width=size)},
        hz=10.0,
    )


def make_statistics():
    """Of a made-up dataset whose axes differ in offset and scale."""
    rng = np.random.default_rng(0)
    data = {
        STATE: rng.normal([1.0, -2.0, 0.1], [0.5, 2.0, 0.01], (200, 3)),
        "action": rng.normal([0.3, 50.0], [0.1, 3.0], (200, 2)),
    }
    statistics = {
        key: {
            name: torch.tensor(getattr(rows, name)(0), dtype=torch.float32)
            for name in ("mean", "std", "min", "max")
        }
        for key, rows in data.items()
    }
    rgb = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "min": [0.0] * 3, "max": [1.0] * 3}
    statistics[IMAGE] = {name: torch.tensor(value).reshape(3, 1, 1) for name, value in rgb.items()}
    return statistics


def save_checkpoint(kind, folder):
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.factory import (
        get_policy_class,
        make_policy_config,
        make_pre_post_processors,
    )

    options = {
        "act": {
            "chunk_size": 6,
            "n_action_steps": 3,
            "dim_model": 32,
            "n_heads": 2,
            "dim_feedforward": 32,
            "n_encoder_layers": 1,
            "n_vae_encoder_layers": 1,
            "latent_dim": 4,
        },
        "diffusion": {
            "n_obs_steps": 2,
            "horizon": 8,
            "n_action_steps": 4,
            "down_dims": (16, 32),
            "n_groups": 4,
            "diffusion_step_embed_dim": 16,
            "spatial_softmax_num_keypoints": 4,
            "num_inference_steps": 3,
        },
    }
    config = make_policy_config(
        kind,
        device="cpu",
        pretrained_backbone_weights=None,
        input_features={
            IMAGE: PolicyFeature(type=FeatureType.VISUAL, shape=(3, 64, 64)),
            STATE: PolicyFeature(type=FeatureType.STATE, shape=(3,)),
        },
        output_features={"action": PolicyFeature(type=FeatureType.ACTION, shape=(2,))},
        **options[kind],
    )
    torch.manual_seed(0)
    get_policy_class(kind)(config).save_pretrained(folder)
    # as after training on a downloaded backbone; loading must not want it again
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(
        text.replace(
            '"pretrained_backbone_weights": null',
            '"pretrained_backbone_weights": "ResNet18_Weights.IMAGENET1K_V1"',
        )
    )
    for processor in make_pre_post_processors(config, dataset_stats=make_statistics()):
        processor.save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("lerobot")
    for kind in ("act", "diffusion"):
        (root / kind).mkdir()
        save_checkpoint(kind, root / kind)
    return root


@pytest.fixture(scope="module")
def policies(folders):
    return {kind: build(folders / kind) for kind in ("act", "diffusion")}


@pytest.fixture
def copy(folders, tmp_path):
    """The ACT checkpoint, to be damaged."""
    for file in (folders / "act").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def build(folder, embodiment=None, **options):
    options = {"cameras": CAMERAS, **options}
    config = LerobotPolicyConfig(path=str(folder), **options)
    return config.build(embodiment or make_embodiment())


def make_observation(policy, seed):
    rng = np.random.default_rng(seed)
    steps = policy.history
    return Observation(
        images={"front": rng.integers(0, 256, (steps, 64, 64, 3), dtype=np.uint8)},
        state=rng.normal(size=(steps, 3)).astype(np.float32),
        instruction="pick up the cube",
        time=float(seed),
    )


def plan_with_lerobot(folder, observation, seed):
    """LeRobot's own way: the queues of select_action, one observation step at a time."""
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    config = PreTrainedConfig.from_pretrained(folder)
    config.pretrained_backbone_weights = None
    policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    before, after = make_pre_post_processors(config, pretrained_path=str(folder))
    policy.reset()
    waiting = policy._queues["action"] if config.type == "diffusion" else policy._action_queue
    for frame, state in zip(observation.images["front"], observation.state, strict=True):
        waiting.clear()  # plan anew at each step, as if all earlier plans were used up
        picture = torch.tensor(frame).permute(2, 0, 1).float() / 255
        batch = before({IMAGE: picture, STATE: torch.tensor(state), "task": "pick up the cube"})
        torch.manual_seed(seed)
        first = policy.select_action(batch)
    return torch.cat([after(action) for action in (first, *waiting)]).numpy()


@pytest.mark.parametrize(("kind", "history", "rows"), [("act", 1, 6), ("diffusion", 2, 4)])
def test_chunks_equal_lerobots(folders, policies, kind, history, rows):
    policy = policies[kind]
    assert isinstance(policy, Policy)
    assert policy.history == history
    observation = make_observation(policy, 5)
    (chunk,) = policy.act([observation], seeds=[11])
    assert chunk.time == 5.0
    assert chunk.actions.shape == (rows, 2)
    want = plan_with_lerobot(folders / kind, observation, 11)
    np.testing.assert_allclose(chunk.actions[: len(want)], want, rtol=1e-5, atol=1e-5)
    assert chunk.actions[:, 1].mean() > 20.0  # in the dataset's units, around 50, not around 0
    assert len(want) >= 3


@pytest.mark.parametrize("kind", ["act", "diffusion"])
def test_act_is_pure_and_a_batch_is_its_singles(policies, kind):
    policy = policies[kind]
    seen = [make_observation(policy, seed) for seed in range(3)]
    torch.manual_seed(3)
    generator = torch.get_rng_state()
    together = policy.act(seen, seeds=[7, 8, 9])
    assert torch.equal(torch.get_rng_state(), generator)
    torch.manual_seed(4)
    for k in (2, 0, 1):
        (alone,) = policy.act([seen[k]], seeds=[7 + k])
        np.testing.assert_array_equal(alone.actions, together[k].actions)
    assert not np.allclose(together[0].actions, together[1].actions)
    (other,) = policy.act(seen[:1], seeds=[70])
    assert np.array_equal(other.actions, together[0].actions) == (kind == "act")


def test_each_step_of_the_history_matters(policies):
    policy = policies["diffusion"]
    seen = make_observation(policy, 0)
    (before,) = policy.act([seen], seeds=[0])
    for step in range(2):
        images = {"front": seen.images["front"].copy()}
        images["front"][step] = 255 - images["front"][step]
        changed = Observation(images=images, state=seen.state, instruction="", time=0.0)
        (after,) = policy.act([changed], seeds=[0])
        assert not np.allclose(before.actions, after.actions, atol=1e-6)


def test_rows_keeps_the_first(folders, policies):
    policy = build(folders / "act", rows=2)
    seen = make_observation(policy, 0)
    (short,), (long,) = policy.act([seen], seeds=[0]), policies["act"].act([seen], seeds=[0])
    np.testing.assert_array_equal(short.actions, long.actions[:2])


def test_sizes_and_names_that_do_not_fit_are_refused(folders):
    act = folders / "act"
    with pytest.raises(EmbodimentMismatch, match=r"observation.state: .*\(3,\).*\(4,\)"):
        build(act, make_embodiment(state=4))
    with pytest.raises(EmbodimentMismatch, match=r"action: .*\(2,\).*\(7,\)"):
        build(act, make_embodiment(action=7))
    with pytest.raises(EmbodimentMismatch, match=r"\(3, 64, 64\).*\(3, 32, 32\)"):
        build(act, make_embodiment(size=32))
    with pytest.raises(EmbodimentMismatch, match=IMAGE):
        build(act, cameras={})
    with pytest.raises(EmbodimentMismatch, match="wrist"):
        build(act, cameras={**CAMERAS, "wrist": IMAGE})
    two = replace(make_embodiment(), cameras={name: Camera(height=64, width=64) for name in "ab"})
    with pytest.raises(EmbodimentMismatch, match="one key"):
        build(act, two, cameras={"a": IMAGE, "b": IMAGE})
    with pytest.raises(EmbodimentMismatch, match="nothing for it"):
        build(act, state="")


def test_out_of_contract_observations_are_refused(policies):
    policy = policies["act"]
    seen = make_observation(policies["diffusion"], 0)
    with pytest.raises(ShapeError, match=r"\(2, 3\)"):
        policy.act([seen], seeds=[0])
    good = make_observation(policy, 0)
    with pytest.raises(ShapeError, match="2 seeds"):
        policy.act([good], seeds=[0, 1])
    blind = Observation(images={}, state=good.state, instruction="", time=0.0)
    with pytest.raises(EmbodimentMismatch, match="front"):
        policy.act([blind], seeds=[0])


def edit_statistics(folder, prefix, change):
    (file,) = folder.glob(f"{prefix}*normalizer_processor.safetensors")
    state = load_file(file)
    change(state)
    save_file(state, file)


@pytest.mark.parametrize(
    ("prefix", "key", "value", "message"),
    [
        ("policy_preprocessor", f"{STATE}.std", None, f"missing.*{STATE}"),
        ("policy_preprocessor", f"{IMAGE}.mean", None, f"missing.*{IMAGE}"),
        ("policy_postprocessor", "action.mean", None, "missing.*'action'"),
        (
            "policy_preprocessor",
            f"{STATE}.std",
            [0.5, 0.0, 1.0],
            rf"std is 0 at axes \[1\].*{STATE}",
        ),
        ("policy_postprocessor", "action.std", [0.5, float("nan")], "not finite.*'action'"),
        ("policy_preprocessor", f"{STATE}.std", [1.0, 1.0], f"2 values.*{STATE}"),
    ],
)
def test_unusable_statistics_are_refused(copy, prefix, key, value, message):
    def change(state):
        del state[key]
        if value is not None:
            state[key] = torch.tensor(value)

    edit_statistics(copy, prefix, change)
    with pytest.raises(StatisticsError, match=message):
        build(copy)


def test_processors_saved_without_statistics_or_normaliser_are_refused(copy):
    file = copy / "policy_preprocessor.json"
    whole = json.loads(file.read_text())
    bare = json.loads(file.read_text())
    for step in bare["steps"]:
        if step["registry_name"] == "normalizer_processor":
            del step["state_file"]
    file.write_text(json.dumps(bare))
    with pytest.raises(StatisticsError, match="missing"):
        build(copy)
    whole["steps"] = [s for s in whole["steps"] if s["registry_name"] != "normalizer_processor"]
    file.write_text(json.dumps(whole))
    with pytest.raises(StatisticsError, match="No normaliser"):
        build(copy)


def test_damaged_and_foreign_folders_are_refused(copy, tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        build(tmp_path / "absent")
    config = copy / "config.json"
    text = config.read_text()
    for wrong in (
        "{",
        text.replace('"act"', '"nonsense"'),
        text.replace('"chunk_size": 6', '"chunk_size": "many"'),
    ):
        config.write_text(wrong)
        with pytest.raises(CheckpointError, match="cannot load"):
            build(copy)
    config.write_text(text)
    weights = copy / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cannot load"):
        build(copy)
    weights.write_bytes(whole)
    state = load_file(weights)
    del state["model.action_head.weight"]
    save_file(state, weights)
    with pytest.raises(CheckpointError, match="action_head"):
        build(copy)
    weights.write_bytes(whole)
    file = copy / "policy_preprocessor.json"
    steps = json.loads(file.read_text())
    steps["steps"].append({"class": "os.path", "config": {}})
    file.write_text(json.dumps(steps))
    with pytest.raises(CheckpointError, match=r"os\.path"):
        build(copy)


def test_kinds_of_policy_that_cannot_be_called_purely_are_refused(copy):
    config = copy / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "use_peft": True}))
    with pytest.raises(CheckpointError, match="merge it"):
        build(copy)
    config.write_text(json.dumps({**values, "input_features": {}}))
    with pytest.raises(CheckpointError, match="no input"):
        build(copy)
    config.write_text(json.dumps({"type": "vqbet", "device": "cpu"}))
    with pytest.raises(CheckpointError, match="internal queues"):
        build(copy)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_absent_device_is_refused(folders):
    with pytest.raises(ConfigError, match="cuda"):
        build(folders / "act", device="cuda")
