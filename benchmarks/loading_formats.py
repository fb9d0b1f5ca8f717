"""The formats that benchmarks/loading.py compares: how each is written, and how it is read.

Every reader gives the same windows: `HISTORY` frames of both cameras, as many states, `HORIZON`
actions, the instruction; clamped to the episode. Each is read as its own community would, with
the fastest decoder at hand. Readers other than ours are map-style torch datasets.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from torch.utils.data import Dataset

from vla.data.codec import build_codec
from vla.data.store import TrajectoryStore
from vla.embodiment import Axis, Camera, Embodiment
from vla.types import Trajectory

CAMERAS = ("front", "wrist")
HISTORY, HORIZON, BATCH = 2, 16, 32
LENGTH, SIDE, HZ, AXES = 150, 224, 30, 7
TEXT = "pick up the yellow bottle"
Episode = dict[str, np.ndarray]
"""uint8 (LENGTH, SIDE, SIDE, 3) per camera, "state" and "action" float32 (LENGTH, AXES)."""
Episodes = Callable[[], Iterator[Episode]]


def encode(frame: np.ndarray) -> bytes:
    """A JPEG as our store writes it, so that formats with JPEGs hold the same bytes."""
    codec = build_codec("jpeg", {"any": Camera(height=SIDE, width=SIDE)})
    return codec.encode(frame)


def write_store(path: Path, episodes: Episodes) -> None:
    axes = tuple(Axis(name=f"j{n}", unit="rad", low=-10, high=10) for n in range(AXES))
    cameras = {name: Camera(height=SIDE, width=SIDE) for name in CAMERAS}
    body = Embodiment(name="bench", state=axes, action=axes, cameras=cameras, hz=HZ)
    store = TrajectoryStore.create(path, embodiment=body, provenance={})
    store.append_many(
        Trajectory(
            images={name: episode[name] for name in CAMERAS},
            state=episode["state"],
            action=episode["action"],
            instruction=TEXT,
            time=np.arange(LENGTH) / HZ,
            success=True,
            labels={},
            source={"number": number},
        )
        for number, episode in enumerate(episodes())
    )


def write_lerobot(path: Path, episodes: Episodes, **encoder: Any) -> None:
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    names = [f"j{n}" for n in range(AXES)]
    vector = {"dtype": "float32", "shape": (AXES,), "names": names}
    image = {"dtype": "video", "shape": (SIDE, SIDE, 3), "names": ["height", "width", "channels"]}
    features = {"observation.state": vector, "action": vector}
    features |= {f"observation.images.{name}": image for name in CAMERAS}
    dataset = LeRobotDataset.create(
        "bench/bench", HZ, features, root=path, streaming_encoding=True,
        encoder_queue_maxsize=LENGTH + 1,  # it drops frames once the queue is full
        rgb_encoder=RGBEncoderConfig(**encoder),
    )  # fmt: skip
    for episode in episodes():
        for step in range(LENGTH):
            frame = {f"observation.images.{name}": episode[name][step] for name in CAMERAS}
            vectors = {
                "observation.state": episode["state"][step],
                "action": episode["action"][step],
            }
            dataset.add_frame({**frame, **vectors, "task": TEXT})
        dataset.save_episode()
    dataset.finalize()


def write_hdf5(path: Path, episodes: Episodes, *, jpeg: bool) -> None:
    import h5py

    path.mkdir()
    with h5py.File(path / "data.hdf5", "w") as file:
        for number, episode in enumerate(episodes()):
            demo = file.create_group(f"data/demo_{number}")
            demo["actions"] = episode["action"]
            demo["obs/state"] = episode["state"]
            for name in CAMERAS:
                if jpeg:
                    kind = h5py.vlen_dtype(np.uint8)
                    column = demo.create_dataset(f"obs/{name}", (LENGTH,), dtype=kind)
                    for step, frame in enumerate(episode[name]):
                        column[step] = np.frombuffer(encode(frame), np.uint8)
                else:
                    demo[f"obs/{name}"] = episode[name]


def write_zarr(path: Path, episodes: Episodes) -> None:
    """As diffusion_policy's ReplayBuffer: zarr v2, one frame per chunk, Blosc with zstd."""
    import numcodecs
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=2)
    blosc = numcodecs.Blosc(cname="zstd", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)
    count = len(list((path.parent / "source").glob("*.npz.done")))
    shapes = {name: (SIDE, SIDE, 3) for name in CAMERAS} | {"state": (AXES,), "action": (AXES,)}
    arrays = {
        name: group.create_array(
            f"data/{name}",
            shape=(count * LENGTH, *shape),
            chunks=(1 if len(shape) == 3 else LENGTH, *shape),
            dtype=np.uint8 if len(shape) == 3 else np.float32,
            compressors=blosc,
        )
        for name, shape in shapes.items()
    }
    for number, episode in enumerate(episodes()):
        for name, array in arrays.items():
            array[number * LENGTH : (number + 1) * LENGTH] = episode[name]


class Windows(Dataset[dict[str, Any]]):
    """Shared part of the plain readers; files are opened in the process that reads."""

    def __init__(self, path: Path, count: int):
        self._path, self._count = path, count
        self._file: Any = None
        self._owner = 0

    def __len__(self) -> int:
        return self._count * LENGTH

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self._owner != os.getpid():
            self._file, self._owner = self.open(), os.getpid()
        episode, step = divmod(int(index), LENGTH)
        first, last = max(step - HISTORY + 1, 0), min(step + HORIZON, LENGTH)
        images, state, action = self.read(episode, first, step + 1, last)
        missing, past = HISTORY - len(state), step + HORIZON - last
        real = np.arange(HORIZON) < last - step
        return {
            **{name: np.concatenate([i[:1]] * missing + [i]) for name, i in images.items()},
            "state": np.concatenate([state[:1]] * missing + [state]),
            "action": np.concatenate([action] + [action[-1:]] * past),
            "mask": real,
            "text": TEXT,
        }

    def open(self) -> Any:
        raise NotImplementedError

    def read(self, episode: int, first: int, now: int, last: int) -> tuple[dict, Any, Any]:
        """Images and states of steps [first, now), actions of [now - 1, last)."""
        raise NotImplementedError


class Hdf5Windows(Windows):
    def open(self) -> Any:
        import h5py

        return h5py.File(self._path / "data.hdf5", "r")

    def read(self, episode, first, now, last):
        demo = self._file[f"data/demo_{episode}"]
        images = {}
        for name in CAMERAS:
            part = demo[f"obs/{name}"][first:now]
            if part.dtype == object:
                part = np.stack([simplejpeg.decode_jpeg(file, "RGB") for file in part])
            images[name] = part
        return images, demo["obs/state"][first:now], demo["actions"][now - 1 : last]


class ZarrWindows(Windows):
    def open(self) -> Any:
        import zarr

        group = zarr.open_group(self._path, mode="r")
        return {name: group[f"data/{name}"] for name in (*CAMERAS, "state", "action")}

    def read(self, episode, first, now, last):
        base = episode * LENGTH
        images = {name: self._file[name][base + first : base + now] for name in CAMERAS}
        state = self._file["state"][base + first : base + now]
        return images, state, self._file["action"][base + now - 1 : base + last]


def open_lerobot(path: Path, *, uint8: bool) -> Dataset[dict[str, Any]]:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    past = [(step - HISTORY + 1) / HZ for step in range(HISTORY)]
    deltas = {f"observation.images.{name}": past for name in CAMERAS}
    deltas |= {"observation.state": past, "action": [step / HZ for step in range(HORIZON)]}
    return LeRobotDataset(
        "bench/bench", root=path, delta_timestamps=deltas, video_backend="torchcodec",
        return_uint8=uint8,
    )  # fmt: skip


@dataclass(frozen=True)
class Format:
    """One line of the table: the folder it reads, who writes that, and how it is opened."""

    folder: str
    write: Callable[[Path, Episodes], None]
    open: Callable[[Path, int], Any] | None = None  # None: ours, see loading.py


def _av1(path: Path, episodes: Episodes) -> None:
    write_lerobot(path, episodes)


def _h264(path: Path, episodes: Episodes) -> None:
    write_lerobot(path, episodes, vcodec="h264", g=2, crf=23, preset="veryfast", fast_decode=1)


def _hdf5_jpeg(path: Path, episodes: Episodes) -> None:
    write_hdf5(path, episodes, jpeg=True)


def _hdf5_raw(path: Path, episodes: Episodes) -> None:
    write_hdf5(path, episodes, jpeg=False)


FORMATS = {
    "ours, threads": Format("store", write_store),
    "ours, torch workers": Format("store", write_store),
    "LeRobot v3 AV1 (defaults)": Format(
        "lerobot_av1", _av1, lambda path, _: open_lerobot(path, uint8=False)
    ),
    "LeRobot v3 AV1, uint8": Format(
        "lerobot_av1", _av1, lambda path, _: open_lerobot(path, uint8=True)
    ),
    "LeRobot v3 H.264 fast-decode, uint8": Format(
        "lerobot_h264", _h264, lambda path, _: open_lerobot(path, uint8=True)
    ),
    "HDF5, JPEG per frame": Format("hdf5_jpeg", _hdf5_jpeg, Hdf5Windows),
    "HDF5, raw per demo": Format("hdf5_raw", _hdf5_raw, Hdf5Windows),
    "zarr v2, Blosc per frame": Format("zarr", write_zarr, ZarrWindows),
}
