import subprocess
import sys
import time
from dataclasses import asdict

import pytest
import yaml

from configs.launch import (
    CompositionError,
    compose,
    describe,
    find_verb,
    list_choices,
    register_schemas,
)
from configs.restoring import dump_config, restore_config
from configs.schemas import GROUPS, JOBS, VlaPolicyConfig
from policies.backbones.config import TinyConfig
from policies.heads.config import FlowConfig
from tests.command import run_vla
from vla.cli import TOOLS, VERBS, describe_tools
from vla.errors import ConfigError, UnknownChoice

VLA = [sys.executable, "-m", "vla.cli"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VLA, *words], capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True, scope="module")
def _schemas():
    register_schemas()


def test_every_verb_has_a_job_and_a_page_of_help():
    tools = {f"{verb} {tool}" for verb in TOOLS for tool in TOOLS[verb]}
    assert set(JOBS) == {*VERBS, *tools} - {*TOOLS}
    for verb in JOBS:
        text = describe(verb)
        assert text.startswith(f"usage: vla {verb}")
        assert "keys and defaults" in text
        assert callable(find_verb(verb))


def test_tools_are_listed():
    text = describe_tools("data")
    assert text.startswith("usage: vla data TOOL")
    assert all(f"\n  {tool} " in text for tool in TOOLS["data"])
    assert run_vla("data").stdout == run_vla("data", "--help").stdout == text


def test_help_is_quick_and_names_every_verb():
    best = min(_time_help() for _ in range(3))
    assert best < 1.0


def _time_help() -> float:
    began = time.perf_counter()
    done = run("--help")
    elapsed = time.perf_counter() - began
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)
    return elapsed


PAIRS = [("flow", backbone) for backbone in GROUPS["policy/backbone"]]
PAIRS += [(head, "tiny") for head in GROUPS["policy/head"] if head != "flow"]


@pytest.mark.parametrize(("head", "backbone"), PAIRS)
def test_policies_compose_and_come_back_from_yaml(head, backbone):
    from omegaconf import OmegaConf

    words = ["policy=tiny", f"policy/head={head}", f"policy/backbone={backbone}", "data.path=x"]
    if backbone == "reduced":  # a wrapper: what it wraps is chosen, too
        words.append("+policy/backbone/inner=smolvlm")
    policy = OmegaConf.to_object(compose("train", words)).policy
    assert (policy.head.kind, policy.backbone.kind) == (head, backbone)
    restored = restore_config("policy", yaml.safe_load(dump_config(policy))["policy"])
    assert restored == policy


@pytest.mark.parametrize("name", list_choices("experiment"))
def test_experiments_compose_with_the_verb_they_are_for(name):
    from omegaconf import OmegaConf

    fits = []
    for verb in ("train", "demo"):
        try:
            words = ["data.path=x"] if verb == "train" else []
            OmegaConf.to_object(compose(verb, [f"experiment={name}", *words]))
        except CompositionError:
            continue
        fits.append(verb)
    assert fits


def test_a_checkpoint_cannot_name_what_the_table_lacks():
    described = asdict(VlaPolicyConfig(backbone=TinyConfig(), head=FlowConfig()))
    with pytest.raises(UnknownChoice, match="kind of policy"):
        restore_config("policy", {**described, "kind": "os.system"})
    with pytest.raises(UnknownChoice, match="key of policy=vla"):
        restore_config("policy", {**described, "horizn": 3})
    with pytest.raises(ConfigError):
        restore_config("policy", {"kind": "vla", "horizon": -1})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evl"], "Did you mean 'eval'"),
        (["train", "training.stepz=3"], "Did you mean 'steps'"),
        (["train", "policy/head=flwo"], "Unknown policy/head 'flwo'. Did you mean 'flow'"),
        (["train", "training.steps=many"], "could not be converted to Integer"),
        (["train"], "Give data.path="),
        (["train", "data.path=x", "data.weights={a: 1}"], "no attribute 'weights'"),
        (["train", "data=mixture", "data.root=x"], "data.weights is empty"),
        (["train", "data=mixture", "data.root=x", "data.weights={a: 1}"], "x/a is not a"),
        (["train", "data.path=/nope"], "is not a trajectory store"),
        (["data", "chek"], "Did you mean 'check'"),
        (["data", "check"], "Give path="),
        (["data", "check", "path=/nope"], "trajectory store"),
        (["data", "edit", "path=x", "output=y", "trim=[3:7:2]"], "EPISODE:FIRST:STOP"),
        (["eval", "checkpoint=/nope"], "No checkpoint in /nope"),
        (["compare"], "Give runs="),
        (["compare", "runs=[a]"], "give two or more folders"),
        (["compare", "runs=[a,b]"], "a holds no finished evaluation of condition=given"),
        (["record", "world.tasks=[reech]", "output=/nope/x"], "Did you mean 'reach'"),
    ],
)
def test_a_mistake_gives_one_message_and_status_2(words, message):
    done = run_vla(*words)
    assert done.status == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
