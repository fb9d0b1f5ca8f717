"""Small LeRobot data sets written by hand, in every layout that is read.

Frame k of the whole set is a plain picture whose three channels tell k, so that a test can
say which frame it got even after video compression.
"""

import io
import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

KEY = "observation.images.cam_high"
FPS = 10
SIZE = (32, 48)
TASKS = ["push the red block", "close the drawer"]


def picture(number: int) -> np.ndarray:
    """The frame with this number in the set, (32, 48, 3)."""
    colour = [40 + 20 * (number % 9), 40 + 20 * (number // 9 % 9), 128]
    return np.broadcast_to(np.array(colour, np.uint8), (*SIZE, 3))


def number_of(frame: np.ndarray) -> int:
    """Which frame this is."""
    red, green, _ = np.rint((frame.reshape(-1, 3).mean(0) - 40) / 20).astype(int)
    return int(red + 9 * green)


def png(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(file, "PNG")
    return file.getvalue()


def write_film(path: Path, numbers: range, fps: int = FPS) -> None:
    """An MP4 of these frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": "2", "crf": "12"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for number in numbers:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture(number)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def numbers(length: int, first: int, width: int) -> np.ndarray:
    """States or actions of an episode, (length, width)."""
    rows = first + np.arange(length)[:, None] + 0.25 * np.arange(width)
    return rows.astype(np.float32)


def rows_of(index: int, length: int, first: int, tasks: list[int] | None = None) -> dict:
    steps = np.arange(length)
    return {
        "observation.state": list(numbers(length, first, 3)),
        "action": list(numbers(length, first + 100, 2)),
        "timestamp": (steps / FPS).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(length, index),
        "index": first + steps,
        "task_index": np.array(tasks if tasks is not None else [index % 2] * length),
    }


def info(version: str, mode: str, lengths: list[int]) -> dict:
    def vector(names: list) -> dict:
        return {"dtype": "float32", "shape": [len(names)], "names": names}

    scalar = {"dtype": "int64", "shape": [1], "names": None}
    place = "chunk-{chunk_index:03d}/file-{file_index:03d}"
    data, film = f"data/{place}.parquet", f"videos/{{video_key}}/{place}.mp4"
    if version != "v3.0":
        old = "episode_{episode_index:06d}"
        data = f"data/chunk-{{episode_chunk:03d}}/{old}.parquet"
        film = f"videos/chunk-{{episode_chunk:03d}}/{{video_key}}/{old}.mp4"
    return {
        "codebase_version": version,
        "robot_type": "toy_arm",
        "total_episodes": len(lengths),
        "chunks_size": 2,
        "fps": FPS,
        "data_path": data,
        "video_path": film,
        "features": {
            "observation.state": vector(["shoulder", "elbow", "gripper"]),
            "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["elbow", "gripper"]}},
            KEY: {"dtype": mode, "shape": [*SIZE, 3], "names": ["height", "width", "channels"]},
            "timestamp": {**scalar, "dtype": "float32"},
            **{k: scalar for k in ("frame_index", "episode_index", "index", "task_index")},
        },
    }


def write_set(
    folder: Path,
    version: str = "v2.1",
    mode: str = "video",
    lengths: tuple[int, ...] = (5, 3, 4, 6),
    per_file: int = 2,
    tasks: dict[int, list[int]] | None = None,
) -> Path:
    """A data set; version 3.0 keeps `per_file` episodes in each file.

    Args:
        tasks: task_index row by row, of episodes where it is not simply one.
    """
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info(version, mode, list(lengths))))
    starts = np.cumsum([0, *lengths]).tolist()
    tables = []
    for index, length in enumerate(lengths):
        rows = rows_of(index, length, starts[index], (tasks or {}).get(index))
        if mode == "image":
            frames = range(starts[index], starts[index] + length)
            rows[KEY] = [{"bytes": png(picture(n)), "path": None} for n in frames]
        tables.append(pa.table(rows))
    write = _write_v3 if version == "v3.0" else _write_v2
    write(folder, mode, lengths, starts, tables, per_file)
    return folder


def _write_v2(folder, mode, lengths, starts, tables, _per_file) -> None:
    lines = {"episodes": [], "tasks": []}
    for index, length in enumerate(lengths):
        chunk, name = f"chunk-{index // 2:03d}", f"episode_{index:06d}"
        (folder / "data" / chunk).mkdir(parents=True, exist_ok=True)
        pq.write_table(tables[index], folder / "data" / chunk / f"{name}.parquet")
        if mode == "video":
            film = folder / "videos" / chunk / KEY / f"{name}.mp4"
            write_film(film, range(starts[index], starts[index] + length))
        lines["episodes"].append({"episode_index": index, "length": length, "tasks": ["?"]})
    lines["tasks"] = [{"task_index": n, "task": text} for n, text in enumerate(TASKS)]
    for name, items in lines.items():
        text = "\n".join(json.dumps(item) for item in items)
        (folder / f"meta/{name}.jsonl").write_text(text + "\n")


def _write_v3(folder, mode, lengths, starts, tables, per_file) -> None:
    rows = []
    for first in range(0, len(lengths), per_file):
        group = range(first, min(first + per_file, len(lengths)))
        file = first // per_file
        place = f"chunk-{file // 2:03d}/file-{file % 2:03d}"
        data = folder / f"data/{place}.parquet"
        data.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(data, tables[0].schema) as writer:
            for index in group:
                writer.write_table(tables[index])
        if mode == "video":
            film = folder / f"videos/{KEY}/{place}.mp4"
            write_film(film, range(starts[first], starts[group[-1] + 1]))
        for index in group:
            row = {"episode_index": index, "length": lengths[index], "tasks": ["?"]}
            for prefix in ["data", *([f"videos/{KEY}"] if mode == "video" else [])]:
                row[f"{prefix}/chunk_index"] = file // 2
                row[f"{prefix}/file_index"] = file % 2
            if mode == "video":
                begin = (starts[index] - starts[first]) / FPS
                row[f"videos/{KEY}/from_timestamp"] = begin
                row[f"videos/{KEY}/to_timestamp"] = begin + lengths[index] / FPS
            rows.append(row)
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        path = folder / f"meta/episodes/chunk-000/file-{number:03d}.parquet"
        pq.write_table(pa.Table.from_pylist(part), path)
    index = pa.table({"task_index": range(len(TASKS)), "__index_level_0__": TASKS})
    pq.write_table(index, folder / "meta/tasks.parquet")
