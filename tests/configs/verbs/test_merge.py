"""`vla merge` on checkpoints made here."""

import numpy as np
import pytest

from configs.merge_job import MergeJob
from configs.restoring import dump_config, load_policy
from configs.verbs.merge import main
from policies.peft.config import LoraConfig
from policies.peft.config_own import SvfitConfig
from tests.policies.samples import EMBODIMENT, build, observations, stir
from vla.errors import CheckpointError
from vla.training.deployed import CheckpointMeta, write_weights
from vla.training.weights import module_tensors


def save(policy, path):
    meta = CheckpointMeta(
        config_yaml=dump_config(policy.config), contract={"embodiment": EMBODIMENT.to_json()}
    )
    write_weights(path, step=5, meta=meta, weights=module_tensors(policy), score=0.25)
    return str(path)


def actions(path):
    policy, _ = load_policy(str(path), device="cpu", embodiment=EMBODIMENT)
    return np.stack([c.actions for c in policy.act(observations(2), seeds=[0, 1])]), policy


@pytest.mark.parametrize("kind", [LoraConfig, SvfitConfig])
def test_merged_checkpoint_acts_alike_without_its_base(kind, tmp_path):
    base = save(build("regression", seed=3), tmp_path / "base")
    peft = kind(parts=["backbone"], rank=4, base=base, save="adapters")
    tuned = save(stir(build("regression", peft=peft)), tmp_path / "tuned")
    before, adapted = actions(tuned)
    assert adapted.config.peft == peft
    main(MergeJob(checkpoint=tuned, output=str(tmp_path / "merged")))
    (tmp_path / "base").rename(tmp_path / "gone")
    after, merged = actions(tmp_path / "merged")
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert merged.config.peft.kind == "none"
    with pytest.raises(CheckpointError, match="No checkpoint"):
        actions(tuned)


def test_nothing_to_merge_and_no_overwriting(tmp_path):
    plain = save(build("regression"), tmp_path / "plain")
    with pytest.raises(CheckpointError, match="no adapters"):
        main(MergeJob(checkpoint=plain, output=str(tmp_path / "merged")))
    assert not (tmp_path / "merged").exists()
    with pytest.raises(CheckpointError, match="exists"):
        main(MergeJob(checkpoint=plain, output=plain))
