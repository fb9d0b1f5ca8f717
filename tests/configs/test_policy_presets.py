"""Named systems as YAML: each composes, is as large as published, and its tiny one learns."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.launch import build_job, compose, list_choices, register_schemas
from policies.heads.tokenizers.fast import FastTokenizer
from tests.policies.samples import EMBODIMENT, batch, observations, statistics
from vla.contract import Policy

SYSTEMS = {  # parameters in millions: as published, and by how much ours may be off
    "rt2": (2923, 0.02),  # PaliGemma's own number; PaLI-X and PaLM-E are not public
    "openvla": (7541, 0.02),  # the checkpoint's
    "openvla_oft": (
        7700,
        0.03,
    ),  # OpenVLA's, a head of 151 M for 7 axes (3 here), 17 M for the state
    "cogact": (7630, 0.02),  # OpenVLA's and DiT-Base's 89 M
    "octo": (93, 0.05),
    "pi0": (3300, 0.05),
    "pi0_fast": (2923, 0.02),
    "pi05": (3300, 0.06),
    "smolvla": (450, 0.05),
    "diffusion_policy": (255, 0.15),
    "act": (52, 0.15),
    "groot": (1932, 0.01),  # a layout after the paper; the number is our own
}
PAGE = Path("docs/systems.md")
UNNAMED = ("octo", "diffusion_policy", "act")  # nothing public to begin from
FAST = {
    "pi0_fast": "policy.head.fast",
    "tiny_pi0_fast": "policy.head.fast",
    "pi05": "policy.head.words.fast",
}


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """The folder of a small FAST tokenizer, fitted here."""
    folder = tmp_path_factory.mktemp("fast")
    chunks = np.random.default_rng(0).uniform(-1, 1, (64, 1, 3)) * np.linspace(0, 1, 8)[:, None]
    FastTokenizer.fit(torch.from_numpy(chunks.astype(np.float32)), vocabulary=300).save(folder)
    return str(folder)


def load(preset, fast, *overrides):
    """The policy's config as `vla train policy=PRESET` composes it."""
    register_schemas()
    key = FAST.get(preset)
    words = [f"policy={preset}", "data.path=none", *([f"{key}={fast}"] if key else []), *overrides]
    return build_job(compose("train", words)).policy


def test_the_table_is_complete():
    assert {name for name in list_choices("policy") if name.startswith("tiny_")} == {
        f"tiny_{name}" for name in SYSTEMS
    }
    assert set(SYSTEMS) <= set(list_choices("policy"))


def test_presets_are_short():
    for path in Path("configs/policy").glob("*.yaml"):
        assert len(path.read_text().splitlines()) <= 25, path


@pytest.mark.parametrize("system", SYSTEMS)
def test_published_size(system, fast):
    """On the meta device: no memory, no weights, the very modules."""
    unnamed = [] if system in UNNAMED else ["policy.backbone.name="]
    config = load(system, fast, *unnamed)
    with torch.device("meta"):
        policy = config.build(EMBODIMENT, None)
    published, off = SYSTEMS[system]
    millions = sum(p.numel() for p in policy.parameters()) / 1e6
    assert millions == pytest.approx(published, rel=off)
    row = re.search(rf"^\| `{system}` \|.*\| (\d+) \|$", PAGE.read_text(), re.MULTILINE)
    assert row is not None
    assert int(row[1]) == round(millions), "docs/systems.md"


@pytest.mark.parametrize("system", SYSTEMS)
def test_tiny_one_trains_and_acts(system, fast):
    config = load(f"tiny_{system}", fast)
    torch.manual_seed(0)
    policy = config.build(EMBODIMENT, statistics()).train()
    assert isinstance(policy, Policy)
    assert sum(p.numel() for p in policy.parameters()) < 3e6
    data = cut(batch(2, history=config.history), config.horizon)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        loss, parts = policy.loss(data, generator=torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(parts["action"].item())
    assert losses[-1] < losses[0]
    seen = observations(2, history=config.history)
    plans = policy.eval().act(seen, seeds=[0, 1])
    assert [plan.actions.shape for plan in plans] == [(config.horizon, 3)] * 2
    assert all(np.isfinite(plan.actions).all() for plan in plans)


def cut(data, horizon):
    """The sample batch with `horizon` rows, the last one repeated where there are too few."""
    index = torch.arange(horizon).clamp(max=data.actions.shape[1] - 1)
    return replace(data, actions=data.actions[:, index], mask=data.mask[:, index])
