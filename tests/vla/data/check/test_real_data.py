"""The checks on data that nobody planted anything in: what they say must be true."""

import os
from pathlib import Path

import pytest

from vla.data.check.inspection import inspect_store
from vla.data.convert.config import BridgeConfig
from vla.data.convert.conversion import convert
from vla.data.store import TrajectoryStore

SHARED = os.environ.get("VLA_SHARED_DATA", Path(__file__).parents[4] / "../shared/data")
SAMPLE = Path(SHARED).resolve() / "octo_bridge_debug"
needs_sample = pytest.mark.skipif(
    not SAMPLE.is_dir(), reason=f"no BridgeData sample at {SAMPLE}; set VLA_SHARED_DATA"
)


@needs_sample
def test_bridge_has_a_dead_camera_and_begins_with_nothing(tmp_path):
    """image_3 is black throughout, and the first action about 1e-7: both known of this sample."""
    store = convert(BridgeConfig(path=str(SAMPLE)).build(), tmp_path / "store")
    findings = inspect_store(store).findings
    assert [(f.kind, f.camera, f.episode) for f in findings] == [
        ("black_camera", "wrist", None),
        ("zero_first_action", "", None),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_demonstrations_of_the_simulator_are_clean(tmp_path, noise):
    from envs.config import TabletopConfig
    from envs.demonstrations import record_demonstrations

    config = TabletopConfig(image_size=48)
    made = record_demonstrations(
        config, tasks=config.tasks, episodes_per_task=2, seed=11, noise=noise, workers=1
    )
    store = TrajectoryStore.create(tmp_path / "s", embodiment=config.embodiment(), provenance={})
    store.append_many(made)
    assert inspect_store(store).findings == ()
