import pickle
from itertools import islice

import cv2
import numpy as np
import pytest
import torch

from vla.data.config import StoreConfig
from vla.data.resized_store import ResizedStore, resize_cameras
from vla.data.store import TrajectoryStore
from vla.data.torch_dataset import WindowDataset, load_with_workers
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ConfigError
from vla.types import Trajectory

AXES = (Axis(name="q", unit="rad", low=-4, high=4),)
CAMERAS = {
    "front": Camera(height=96, width=128, source="test", intrinsics=(100.0, 90.0, 64.0, 48.0)),
    "wrist": Camera(height=40, width=40),
}
BODY = Embodiment(name="toy", state=AXES, action=AXES, cameras=CAMERAS, hz=10)


def _film(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    frames = [np.stack([rows + 9 * t, columns, 90 + rows // 2], axis=-1) for t in range(5)]
    return np.stack(frames).clip(0, 255).astype(np.uint8)


@pytest.fixture(params=["jpeg", "zstd"])
def path(request, tmp_path):
    store = TrajectoryStore.create(
        tmp_path / "s", embodiment=BODY, provenance={}, codec=request.param
    )
    episode = Trajectory(
        images={"front": _film(96, 128), "wrist": _film(40, 40)},
        state=np.zeros((5, 1), np.float32),
        action=np.zeros((5, 1), np.float32),
        instruction="",
        time=np.arange(5) / 10,
        success=True,
        labels={},
        source={},
    )
    store.append(episode)
    return tmp_path / "s"


def test_cameras_and_their_intrinsics_are_scaled():
    resized = resize_cameras(BODY, (32, 32))
    front = resized.cameras["front"]
    assert (front.height, front.width, front.source) == (32, 32, "test")
    assert front.intrinsics == pytest.approx((25, 30, 16, 16))
    assert resized.cameras["wrist"] == Camera(height=32, width=32)
    assert resized.hash != BODY.hash
    same = resize_cameras(BODY, (96, 128)).cameras
    assert same["front"] is BODY.cameras["front"]


@pytest.mark.parametrize("size", [(0, 4), (3,), (-1, -1)])
def test_sizes_that_make_no_sense(size):
    with pytest.raises(ConfigError, match="image_size is"):
        resize_cameras(BODY, size)


@pytest.mark.parametrize("size", [20, 33, 40])
def test_pictures_are_averaged_down(path, size):
    store = ResizedStore.open(path, image_size=(size, size))
    for name, frames in {"front": _film(96, 128), "wrist": _film(40, 40)}.items():
        got = store.read_frames(name, np.array([4, 1, 4]))
        area = {"dsize": (size, size), "interpolation": cv2.INTER_AREA}
        wanted = np.stack([cv2.resize(frames[n], **area) for n in (4, 1, 4)])
        assert got.shape == wanted.shape
        assert np.abs(got.astype(int) - wanted).mean() < 2.5  # JPEG and its own halving


def test_small_pictures_are_enlarged(path):
    store = ResizedStore.open(path, image_size=(192, 160))
    frames = store.read_frames("front", np.array([2]))
    assert frames.shape == (1, 192, 160, 3)
    wanted = cv2.resize(_film(96, 128)[2], (160, 192), interpolation=cv2.INTER_CUBIC)
    assert np.abs(frames[0].astype(int) - wanted).mean() < 2.5


def test_everyone_downstream_sees_the_new_size(path):
    data = StoreConfig(path=str(path), image_size=[24, 32], threads=0, held_out=0.0).open()
    (store,) = data.stores
    assert data.body == store.embodiment == resize_cameras(BODY, (24, 32))
    batch = data.load("train", history=2, horizon=2, batch_size=3, seed=0).batch(0)
    assert batch.images["front"].shape == (3, 2, 24, 32, 3)
    assert store.episode(0).images["front"].shape == (5, 24, 32, 3)
    # Our own bytes: this is how a spawned worker gets a store.
    again = pickle.loads(pickle.dumps(store))
    assert again.embodiment == store.embodiment
    assert type(StoreConfig(path=str(path)).open().stores[0]) is TrajectoryStore


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_shrinking_goes_on_after_a_fork(path):
    store = ResizedStore.open(path, image_size=(24, 24))
    dataset = WindowDataset(store, history=2, horizon=2, episodes=store.split("all"))
    here = dataset[2].images["front"]
    (there,) = islice(load_with_workers(dataset, batch_size=5, seed=0, workers=1), 1)
    assert any(torch.equal(here[0], image) for image in there.images["front"])
