"""`vla export recipe=`: a public folder in few bits, and what is told of it."""

import json

import numpy as np
import pytest

from configs.launch import launch
from configs.restoring import load_policy, load_public
from configs.verbs.run import tell_quantization
from policies.checkpoints.config import PublicConfig
from policies.quantize.config import Int4WeightsConfig
from policies.quantize.quantizer import quantize
from tests.policies.backbones.test_openvla import source
from tests.policies.checkpoints.test_openvla_folder import folder, make_body, observe
from vla.errors import ConfigError

__all__ = ["folder", "source"]  # fixtures


@pytest.fixture
def words(folder):
    body = folder / "body.json"
    body.write_text(json.dumps(make_body().to_json()))
    return [f"checkpoint={folder}", "key=bridge_orig", f"body={body}", "format=vla",
            "recipe=int4_weights", "recipe.least=256"]  # fmt: skip


def test_a_public_folder_becomes_a_policy_in_few_bits(folder, words, tmp_path):
    output = tmp_path / "out"
    launch("export", [*words, f"output={output}"])
    plain, sha256 = load_public(
        PublicConfig(path=str(folder), key="bridge_orig"), device="cpu", embodiment=make_body()
    )
    assert quantize(plain, Int4WeightsConfig(least=256), [])
    packed, _ = load_policy(str(output), device="cpu", embodiment=make_body())
    for seed in range(3):
        want, have = (p.act([observe(seed)], seeds=[seed])[0].actions for p in (plain, packed))
        np.testing.assert_array_equal(have, want)
    told = tell_quantization(str(output))["quantization"]
    assert told["source_sha256"] == sha256
    assert not told["gate"]["passed"]
    assert "never compared" in told["gate"]["faults"][0]


def test_what_is_judged_elsewhere_or_cannot_be_is_refused(words, tmp_path):
    with pytest.raises(ConfigError, match="format=vla"):
        launch("export", [*words, "format=lerobot", f"output={tmp_path}/out"])
    plain = [word for word in words if not word.startswith("recipe")]
    launch("export", [*plain, f"output={tmp_path}/ours"])
    again = [f"checkpoint={tmp_path}/ours", *words[3:], f"output={tmp_path}/out"]
    with pytest.raises(ConfigError, match="vla quantize"):
        launch("export", again)
    assert not (tmp_path / "out").exists()
