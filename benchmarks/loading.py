"""How fast random training windows are read, and what they cost: our store against others.

    python benchmarks/loading.py [--episodes 100] [--seconds 5] [--rounds 3] [--video FOLDER]

Makes the same episodes in each format (kept under --workdir, so that a rerun is quick), then
reads shuffled batches with 0, 1 and 2 workers, all formats in turn in each round. For ours a
worker is a thread; its way with worker processes has a line of its own. A measurement runs in
a process of its own and begins once batches flow, so that imports and start-up do not count.
CPU seconds are those of the reader and all its workers; they hold on a busy machine, where
samples per second mean little. The ceiling is decoding the same JPEG frames by one thread, with
nothing around it. --video takes real pictures from MP4 files. Ends with one JSON line.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import simplejpeg
import torch
from loading_formats import AXES, BATCH, CAMERAS, FORMATS, HISTORY, HORIZON, LENGTH, SIDE, Episode
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from vla.data.loader import WindowLoader
from vla.data.store import TrajectoryStore
from vla.data.torch_dataset import WindowBatches, WindowDataset, load_with_workers

WORKERS = (2, 1, 0)  # 0 last: it opens decoders, which do not survive the others' forks
OURS = "ours, threads"
SIZES = {"history": HISTORY, "horizon": HORIZON}


def read_videos(folder: Path, number: int) -> np.ndarray:
    """LENGTH frames of episode `number`, uint8 (LENGTH, H, W, 3), from one of the videos."""
    import av

    videos = sorted(folder.rglob("*.mp4"))
    if not videos:
        raise SystemExit(f"no .mp4 below {folder}; give another --video, or leave it away")
    turn, which = divmod(number, len(videos))
    with av.open(str(videos[which])) as container:
        frames = [f.to_ndarray(format="rgb24") for f in islice(container.decode(video=0), 400)]
    start = 7 * turn
    back_and_forth = np.abs(np.arange(start, start + LENGTH) % (2 * len(frames) - 2))
    picks = np.where(
        back_and_forth < len(frames), back_and_forth, 2 * len(frames) - 2 - back_and_forth
    )
    return np.stack([frames[n] for n in picks])


def make_scene(number: int) -> np.ndarray:
    """A textured table seen by a moving camera, uint8 (LENGTH, 480, 640, 3), with moving blocks."""
    import cv2

    rng = np.random.default_rng(number)
    noise = [rng.integers(0, 256, (n, n, 3), np.uint8) for n in (12, 100, 700)]
    layers = [cv2.resize(n, (1000, 800), interpolation=cv2.INTER_CUBIC) for n in noise]
    table = (0.6 * layers[0] + 0.3 * layers[1] + 0.1 * layers[2]).astype(np.uint8)
    colours = rng.integers(0, 256, (5, 3)).tolist()
    phases = rng.uniform(0, 6.28, (6, 2))
    frames = []
    for step in range(LENGTH):
        right, down = (160 * (1 + np.sin(step / 40 + phases[0]))).astype(int)
        frame = np.ascontiguousarray(table[down : down + 480, right : right + 640])
        for colour, phase in zip(colours, phases[1:], strict=True):
            x, y = (np.array([320, 240]) + [250, 180] * np.sin(step / 25 + phase)).astype(int)
            cv2.rectangle(frame, (x, y), (x + 60, y + 60), colour, -1)
        frames.append(frame)
    return np.stack(frames)


def make_episode(number: int, video: str) -> Episode:
    """Two cameras cut from one picture, left and right, and seven smooth joints."""
    import cv2

    frames = read_videos(Path(video), number) if video else make_scene(number)
    height, width = frames.shape[1:3]
    squares = {"front": slice(0, height), "wrist": slice(width - height, width)}
    views = {
        name: np.stack([
            cv2.resize(np.ascontiguousarray(f[:, cut]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            for f in frames
        ])
        for name, cut in squares.items()
    }  # fmt: skip
    waves = np.sin(np.arange(LENGTH + 1)[:, None] / np.arange(10, 10 + AXES) + number)
    waves = waves.astype(np.float32)
    return {**views, "state": waves[:-1], "action": waves[1:]}


def build(workdir: Path, episodes: int, video: str, console: Console) -> None:
    """Write whatever is not there yet; the seconds each took are kept beside it."""
    source = workdir / "source"
    source.mkdir(parents=True, exist_ok=True)
    for number in range(episodes):
        path, done = source / f"{number}.npz", source / f"{number}.npz.done"
        if not done.exists():
            np.savez(path, **make_episode(number, video))
            done.touch()
    for folder, write in {f.folder: f.write for f in FORMATS.values()}.items():
        target, part = workdir / folder, workdir / f".{folder}-{os.getpid()}"
        if not target.exists():
            begin = time.perf_counter()
            write(part, partial(load_source, workdir, episodes))
            part.rename(target)
            console.print(f"{folder} written in {time.perf_counter() - begin:.0f} s")


def load_source(workdir: Path, episodes: int) -> Iterator[Episode]:
    """The episodes as they were made."""
    for number in range(episodes):
        with np.load(workdir / "source" / f"{number}.npz") as file:
            yield dict(file)


class Reading:
    """One format, opened in this process: streams of batches, and single frames for PSNR."""

    def __init__(self, name: str, workdir: Path, episodes: int):
        self.name, self.path = name, workdir / FORMATS[name].folder
        self.opened = FORMATS[name].open
        if self.opened:
            self.dataset = self.opened(self.path, episodes)
        else:
            self.store = TrajectoryStore.open(self.path)
            self.all = self.store.split("all")
            self.dataset = WindowDataset(self.store, episodes=self.all, **SIZES)

    def stream(self, workers: int) -> Iterator:
        """Batches of BATCH shuffled windows, without end."""
        if self.name == OURS:
            loader = WindowLoader(
                self.store, batch_size=BATCH, seed=0, episodes=self.all, threads=workers,
                cache_bytes=0, **SIZES,
            )  # fmt: skip
            return loader.iterate(0)
        if not self.opened:
            made = load_with_workers(self.dataset, batch_size=BATCH, seed=0, workers=workers)
            return iter(made)
        # Without end, since torch starts its workers anew for every epoch; in our order.
        order = WindowBatches(len(self.dataset), BATCH, 0)
        return iter(DataLoader(self.dataset, batch_sampler=order, num_workers=workers))

    def frames(self, index: int) -> np.ndarray:
        """The present frame of both cameras, uint8 (2, SIDE, SIDE, 3)."""
        item = self.dataset[index]
        found = item.images if not self.opened else item
        images = []
        for camera in CAMERAS:
            key = camera if camera in found else f"observation.images.{camera}"
            image = torch.as_tensor(found[key]).reshape(-1, HISTORY, *found[key].shape[-3:])[0, -1]
            image = image if image.shape[-1] == 3 else image.permute(1, 2, 0)
            images.append(image if image.dtype == torch.uint8 else (image * 255).round().byte())
        return torch.stack(images).numpy()


def cpu_seconds() -> float:
    """Of this process and its living children."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def measure(name: str, workdir: Path, episodes: int, seconds: float) -> dict:
    """One format with each number of workers, and the ceiling where the format is ours."""
    torch.set_num_threads(1)
    reading, result = Reading(name, workdir, episodes), {}
    for workers in WORKERS:
        stream = reading.stream(workers)
        for _ in range(10 + 3 * workers):  # until memory has settled and queues are full
            next(stream)
        cpu, begin, count = cpu_seconds(), time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            next(stream)
            count += BATCH
        result[f"wall_{workers}"] = count / (time.perf_counter() - begin)
        result[f"cpu_{workers}"] = count / (cpu_seconds() - cpu)
        del stream  # ends its workers
    if name == OURS:
        result["ceiling"] = measure_ceiling(reading.store, seconds)
    result["psnr"] = measure_psnr(reading, workdir, episodes)
    return result


def measure_ceiling(store: TrajectoryStore, seconds: float) -> float:
    """Samples per CPU second when nothing but decoding JPEGs is done, into one warm buffer."""
    rng, out = np.random.default_rng(0), np.empty((SIDE, SIDE, 3), np.uint8)
    frames = rng.integers(0, store.num_frames, 256).tolist()
    files = [store.read_payload(camera, n) for camera in CAMERAS for n in frames]
    begin, count = time.process_time(), 0
    while time.process_time() - begin < seconds:
        for file in files:
            simplejpeg.decode_jpeg(file, "RGB", buffer=out)
        count += len(files)
    return count / (time.process_time() - begin) / (HISTORY * len(CAMERAS))


def measure_psnr(reading: Reading, workdir: Path, episodes: int) -> float:
    """Over 32 frames, in dB; 99 where the pictures are exact."""
    errors = []
    for number, episode in enumerate(load_source(workdir, min(episodes, 4))):
        for step in (3, 50, 90, 140):
            found = reading.frames(number * LENGTH + step).astype(float)
            errors.append(np.square(found - np.stack([episode[c][step] for c in CAMERAS])).mean())
    error = float(np.mean(errors))
    return 10 * np.log10(255**2 / error) if error else 99.0


def report(results: dict[str, list[dict]], sizes: dict[str, float], console: Console) -> dict:
    """Medians over the rounds, as a table and as one dictionary."""
    middle = {
        name: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for name, rounds in results.items()
    }
    rivals = [name for name in middle if "LeRobot" in name]
    best = {w: max((middle[name][f"cpu_{w}"] for name in rivals), default=0) for w in WORKERS}
    table = Table(
        title="samples/s wall | per CPU second | CPU ratio to the best LeRobot",
        title_justify="left",
    )
    for column in ("format", "MB", "PSNR dB", *(f"{w} workers" for w in reversed(WORKERS))):
        table.add_column(column, justify="left" if column == "format" else "right")
    for name, row in middle.items():
        row["mb"] = sizes[name]
        cells = []
        for workers in reversed(WORKERS):
            wall, cpu = row[f"wall_{workers}"], row[f"cpu_{workers}"]
            row[f"ratio_{workers}"] = cpu / best[workers] if best[workers] else 0.0
            cells.append(f"{wall:.0f} | {cpu:.0f} | {row[f'ratio_{workers}']:.1f}x")
        table.add_row(name, f"{row['mb']:.1f}", f"{row['psnr']:.1f}", *cells)
    console.print(table)
    if OURS in middle:
        ours = middle[OURS]
        ours["ceiling_share"] = ours["cpu_0"] / ours["ceiling"]
        console.print(
            f"ceiling {ours['ceiling']:.0f} samples per CPU second; ours with 0 workers reaches "
            f"{100 * ours['ceiling_share']:.0f} % of it"
        )
    return middle


def main() -> None:
    """Build, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", default="", help="folder with MP4 files to cut pictures from")
    parser.add_argument("--workdir", default="/tmp/vla-loading-benchmark")
    parser.add_argument("--only", default="", help="formats whose name holds this")
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    kind = "video" if options.video else "scene"
    workdir = Path(options.workdir) / f"{options.episodes}-{kind}"
    if options.measure:
        found = measure(options.measure, workdir, options.episodes, options.seconds)
        print(json.dumps(found))
        return
    console = Console(width=120)
    load = os.getloadavg()[0]
    build(workdir, options.episodes, options.video, console)
    results: dict[str, list[dict]] = {name: [] for name in FORMATS if options.only in name}
    for _ in range(options.rounds):
        for name, rounds in results.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", name]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rounds.append(json.loads(done.stdout.splitlines()[-1]))
    sizes = {
        name: sum(f.stat().st_size for f in (workdir / FORMATS[name].folder).rglob("*")) / 1e6
        for name in results
    }
    middle = report(results, sizes, console)
    setting = {"episodes": options.episodes, "pictures": kind, "cores": os.cpu_count()}
    print(json.dumps({**setting, "load_before": round(load, 2), "results": middle}))


if __name__ == "__main__":
    main()
