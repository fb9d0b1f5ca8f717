"""The train verb on a store whose actions are where the joints shall be."""

import numpy as np
import pytest

from configs.jobs import TrainJob
from configs.restoring import load_policy
from configs.verbs import train
from policies.config import VlaPolicyConfig
from tests.policies.samples import EMBODIMENT, HEADS, HORIZON, REACHING, TINY
from vla.data.config import StoreConfig
from vla.data.store import TrajectoryStore
from vla.errors import ConfigError
from vla.training.checkpoint import open_checkpoint
from vla.training.config import TrainingConfig
from vla.types import Trajectory


def make_store(path, body):
    store = TrajectoryStore.create(path, embodiment=body, provenance={"by": "test"})
    rng = np.random.default_rng(0)
    for _ in range(4):
        store.append(
            Trajectory(
                images={
                    name: rng.integers(0, 256, (6, 16, 16, 3), np.uint8) for name in body.cameras
                },
                state=rng.normal(size=(6, 3)).astype(np.float32),
                action=rng.uniform(0, 0.1, (6, 3)).astype(np.float32),
                instruction="reach",
                time=np.arange(6) / body.hz,
                success=True,
            )
        )
    return store


def make_job(tmp_path, **options):
    return TrainJob(
        policy=VlaPolicyConfig(
            horizon=HORIZON, backbone=TINY, head=HEADS["regression"], relative_actions=True
        ),
        data=StoreConfig(path=str(tmp_path / "store"), held_out=0.25, threads=0),
        training=TrainingConfig(steps=2, batch_size=4, warmup_steps=1, validation_batches=1),
        output=str(tmp_path / "run"),
        device="cpu",
    )


def test_a_checkpoint_of_relative_actions_restores_them(tmp_path, monkeypatch):
    concluded = []  # the report takes seconds and has tests of its own
    monkeypatch.setattr(train, "conclude", lambda job, data, kept: concluded.append(kept))
    store = make_store(tmp_path / "store", REACHING)
    train.main(make_job(tmp_path))
    (kept,) = open_checkpoint(str(tmp_path / "run")).contract["statistics"]
    assert (kept["relative"], kept["horizon"]) == (["joint1"], HORIZON)
    policy, _ = load_policy(str(tmp_path / "run"), device="cpu", embodiment=REACHING)
    center = policy.action_normalizer.center[0].item()
    assert center == pytest.approx((kept["action"]["q01"][0] + kept["action"]["q99"][0]) / 2)
    spread = kept["action"]["std"][0]
    assert spread == pytest.approx(store.column("state")[:, 1].std(), rel=0.3)  # not the action's
    assert concluded[0]["stores"] == {"store": store.hash}


def test_a_store_without_pairs_is_refused_before_training(tmp_path):
    make_store(tmp_path / "store", EMBODIMENT)
    with pytest.raises(ConfigError, match="relative_actions"):
        train.main(make_job(tmp_path))
    assert not (tmp_path / "run").exists()
