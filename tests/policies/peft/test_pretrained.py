"""Adapters on pretrained models, and checkpoints that hold nothing else."""

from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file

from configs.restoring import restore_config
from policies.backbones.config import AutoBackboneConfig
from policies.backbones.language_config import PaligemmaConfig, QwenVlConfig, SmolvlmConfig
from policies.config import VlaPolicyConfig
from policies.peft.adapters import find_layers, frozen
from policies.peft.config import AdaloraConfig, LoraConfig
from policies.peft.config_library import HraConfig, VeraConfig
from policies.peft.config_own import NolaConfig, SelectiveConfig
from tests.policies.samples import batch, build, observations, stir
from tests.policies.test_auto import SAVERS
from vla.errors import CheckpointError, ConfigError, UnknownChoice
from vla.training.checkpoint import load_weights
from vla.training.deployed import CheckpointMeta, write_weights
from vla.training.weights import fill_module, module_tensors, save_tensors

LORA = LoraConfig(rank=2, init="gaussian")


@pytest.fixture(scope="module", params=sorted(SAVERS))
def folder(request, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(request.param)
    SAVERS[request.param](path)
    return path


@pytest.fixture
def llava(tmp_path):
    torch.manual_seed(0)
    SAVERS["llava"](tmp_path / "llava")
    return tmp_path / "llava"


def actions(policy):
    return [torch.from_numpy(c.actions) for c in policy.eval().act(observations(2), seeds=[0, 1])]


def save(policy, path):
    meta = CheckpointMeta(config_yaml="", contract={})
    write_weights(path, step=1, meta=meta, weights=module_tensors(policy))
    return str(path)


def test_any_model_gets_adapters_and_new_parts_stay_trained(folder):
    config = AutoBackboneConfig(name=str(folder), labels=["target"])
    plain = build("regression", backbone=config)
    adapted = build("regression", backbone=config, peft=LORA)
    assert all(name.startswith("backbone.model.") for name in find_layers(adapted))
    model = adapted.backbone.model
    vision = {id(m) for m in adapted.backbone.parts()["vision"][0].modules()}
    assert any(id(layer) in vision for layer in find_layers(model).values())
    assert "lm_head" not in find_layers(model)
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    rest = {name for name in trained if "lora_" not in name}
    assert rest == {name for name, p in plain.named_parameters() if p.requires_grad}
    assert any(name.startswith("backbone._state_token") for name in rest)
    adapted.load_state_dict(plain.state_dict(), strict=False)
    adapted.loss(batch(2), generator=torch.Generator())[0].backward()
    reached = [n for n, p in adapted.named_parameters() if p.grad is not None and "lora_B" in n]
    assert any("text_model" in n or "language_model" in n for n in reached)


@pytest.mark.parametrize("config", [PaligemmaConfig, SmolvlmConfig, QwenVlConfig])
def test_parts_of_language_backbones(config):
    policy = build("regression", backbone=config(), peft=LoraConfig(rank=2, parts=["language"]))
    layers = find_layers(policy)
    assert layers
    assert all(name.startswith("backbone.decoder.") for name in layers)
    assert all(p.requires_grad for p in policy.backbone.tower.parameters())
    assert not any(".lora_" not in n for n in trained_names(policy.backbone.decoder))
    several = build("regression", backbone=config(), peft=LORA)
    assert len(find_layers(several)) > len(layers)
    before = actions(several)
    several.merge_adapters()
    torch.testing.assert_close(actions(several), before, atol=1e-5, rtol=0)


def trained_names(module):
    return {name for name, p in module.named_parameters() if p.requires_grad}


def test_adapters_beside_half_precision_are_in_float32(llava):
    config = AutoBackboneConfig(name=str(llava), dtype="bfloat16")
    policy = build("regression", backbone=config, peft=LORA)
    assert policy.backbone.model.dtype == torch.bfloat16
    adapters = [w for name, w in policy.named_parameters() if "lora_" in name]
    assert {w.dtype for w in adapters} == {torch.float32}
    assert policy.loss(batch(2), generator=torch.Generator())[0].isfinite()


def test_a_checkpoint_of_adapters_is_small_and_needs_its_very_base(tmp_path):
    base = stir(build("regression", seed=4))
    place = save(base, tmp_path / "base")
    peft = VeraConfig(rank=4, parts=["backbone", "head"], base=place, save="adapters")
    adapted = build("regression", peft=peft)
    torch.testing.assert_close(actions(adapted), actions(base), atol=1e-5, rtol=0)
    stir(adapted, seed=2)
    whole, small = tmp_path / "base/weights.safetensors", tmp_path / "adapters.safetensors"
    save_tensors(small, module_tensors(adapted))
    assert not any(name.endswith("base_layer.weight") for name in load_file(small))
    assert small.stat().st_size < whole.stat().st_size / 2
    again = build("regression", seed=9, filled=False, peft=peft)
    fill_module(again, small)
    torch.testing.assert_close(actions(again), actions(adapted), atol=0, rtol=0)
    save(build("regression", seed=5), tmp_path / "base")
    other = build("regression", peft=peft)
    before = actions(other)
    with pytest.raises(CheckpointError, match="Put the base back"):
        fill_module(other, small)
    torch.testing.assert_close(actions(other), before, atol=0, rtol=0)


def test_merged_weights_are_those_of_a_plain_policy(tmp_path):
    base = stir(build("regression", seed=4))
    peft = LoraConfig(rank=2, parts=["backbone"], base=save(base, tmp_path / "base"))
    adapted = stir(build("regression", peft=peft), seed=2)
    before = actions(adapted)
    adapted.merge_adapters()
    plain = build("regression", seed=8, filled=False)
    load_weights(plain, save(adapted, tmp_path / "merged"))
    torch.testing.assert_close(actions(plain), before, atol=1e-5, rtol=0)


def test_the_base_gives_weights_but_the_data_their_statistics(tmp_path):
    base = build("regression", seed=4)
    base.action_normalizer.center.fill_(0.5)
    peft = LoraConfig(rank=2, parts=["backbone"], base=save(base, tmp_path / "base"))
    adapted, fresh = build("regression", peft=peft), build("regression")
    assert torch.equal(adapted.action_normalizer.center, fresh.action_normalizer.center)


@pytest.mark.parametrize(
    ("peft", "message"),
    [
        (LoraConfig(parts=["projector"]), "projector"),
        (LoraConfig(targets=["no_such_layer"]), "no_such_layer"),
        (LoraConfig(save="adapters"), "random"),
        (NolaConfig(targets=["stem"]), "linear layers"),
        (HraConfig(parts=["head"], base="/nowhere"), "No checkpoint"),
    ],
)
def test_what_does_not_fit_is_refused(peft, message):
    with pytest.raises((ConfigError, CheckpointError, UnknownChoice), match=message):
        build("regression", peft=peft)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (LoraConfig, {"rank": 0}),
        (LoraConfig, {"init": "pissa", "save": "adapters"}),
        (LoraConfig, {"dropout": 1.0}),
        (LoraConfig, {"targets": []}),
        (LoraConfig, {"save": "some"}),
        (HraConfig, {"rank": 3}),
        (AdaloraConfig, {"steps": 100}),
        (AdaloraConfig, {"rank": 20}),
        (SelectiveConfig, {"threshold": 0.0}),
    ],
)
def test_configs_refuse_nonsense(kind, options):
    with pytest.raises((ConfigError, UnknownChoice)):
        kind(**options)


def test_principal_parts_move_into_the_adapters_without_changing_answers():
    peft = LoraConfig(rank=4, parts=["backbone"], init="pissa")
    plain, adapted = build("regression"), build("regression", peft=peft)
    layers = {f"{name}.base_layer.weight" for name in find_layers(adapted)}
    assert layers < set(frozen(adapted))
    torch.testing.assert_close(actions(adapted), actions(plain), atol=1e-5, rtol=0)


def test_configs_come_back_from_checkpoints_and_old_options_are_explained():
    config = VlaPolicyConfig(peft=NolaConfig(rank=3, bases=5), backbone=AutoBackboneConfig())
    described = asdict(config)
    described["head"] = {"kind": "regression"}
    assert restore_config("policy", described).peft == config.peft
    described["backbone"]["lora_rank"] = 4
    with pytest.raises(ConfigError, match="policy/peft=lora"):
        restore_config("policy", described)
