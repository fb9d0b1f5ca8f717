"""How fast and how lean RLDS becomes a store: JPEG frames of 224 px in TFRecord files.

    python benchmarks/convert_rlds.py [--frames 10000] [--folder TMP]

Makes a folder in LIBERO's layout with one camera, converts it in a process of its own at a
fifth of the frames and at all of them, and compares speed and peak memory. Ends with one JSON
line.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import google_crc32c
import numpy as np
import simplejpeg

from vla.data.convert.config import OpenXConfig
from vla.data.convert.conversion import convert

NAME, SIDE, LENGTH, PER_FILE = "libero_goal_no_noops", 224, 100, 10


def varint(value):
    """A base-128 number."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def message(number, payload):
    """A protocol-buffer field of bytes."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def encode(features):
    """A tf.train.Example of byte lists and float arrays."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, list):
            feature = message(1, b"".join(message(1, item) for item in value))
        else:
            feature = message(2, message(1, value.astype("<f4").tobytes()))
        entries += message(1, message(1, name.encode()) + message(2, feature))
    return message(1, entries)


def frame_record(data):
    """One TFRecord."""

    def masked(part):
        checksum = google_crc32c.value(part)
        rotated = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
        return ((rotated + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")

    length = len(data).to_bytes(8, "little")
    return length + masked(length) + data + masked(data)


def make_pictures(count=64):
    """JPEG files of about 10 kB: smooth shapes with a little noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    pictures = []
    for _ in range(count):
        waves = [np.sin(rng.uniform(2, 20, 2) @ [y.ravel(), x.ravel()]) for _ in range(3)]
        smooth = np.stack(waves, -1).reshape(SIDE, SIDE, 3) * 90 + 128
        noisy = np.clip(smooth + rng.normal(0, 5, smooth.shape), 0, 255).astype(np.uint8)
        pictures.append(simplejpeg.encode_jpeg(noisy, quality=90, colorsubsampling="420"))
    return pictures


def write_folder(folder, frames):
    """The RLDS folder; returns bytes per picture."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    pictures = make_pictures()
    files = max(1, frames // (LENGTH * PER_FILE))
    for number in range(files):
        name = f"toy-train.tfrecord-{number:05d}-of-{files:05d}"
        with (folder / name).open("wb") as file:
            for _ in range(PER_FILE):
                chosen = [pictures[i] for i in rng.integers(0, len(pictures), LENGTH)]
                episode = {
                    "steps/action": rng.uniform(-1, 1, LENGTH * 7),
                    "steps/observation/state": rng.uniform(-1, 1, LENGTH * 8),
                    "steps/observation/image": chosen,
                    "steps/language_instruction": [b"open the drawer"] * LENGTH,
                }
                file.write(frame_record(encode(episode)))
    splits = [{"name": "train", "shardLengths": [str(PER_FILE)] * files}]
    info = {"name": "toy", "version": "1.0.0", "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(features()))
    return sum(map(len, pictures)) / len(pictures)


def features():
    """What features.json says."""

    def tensor(count):
        shape = {"dimensions": [str(count)]}
        body = {"shape": shape, "dtype": "float32", "encoding": "none"}
        return {"pythonClassName": "Tensor", "tensor": body}

    shape = {"dimensions": [str(SIDE), str(SIDE), "3"]}
    body = {"shape": shape, "dtype": "uint8", "encodingFormat": "jpeg"}
    image = {"pythonClassName": "Image", "image": body}
    observation = {"featuresDict": {"features": {"image": image, "state": tensor(8)}}}
    words = {"pythonClassName": "Text", "text": {}}
    steps = {"action": tensor(7), "observation": observation, "language_instruction": words}
    sequence = {"sequence": {"feature": {"featuresDict": {"features": steps}}}}
    return {"featuresDict": {"features": {"steps": sequence}}}


def measure(folder, output):
    """Convert; frames per second of wall and of CPU, and this process's peak memory."""
    source = OpenXConfig(dataset=NAME, path=str(folder), cameras={"image": "front"}).build()
    wall, cpu = time.perf_counter(), time.process_time()
    store = convert(source, output)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "frames": store.num_frames,
        "frames_per_s": round(store.num_frames / wall),
        "frames_per_cpu_s": round(store.num_frames / cpu),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="for the files; a temporary one if left out")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*map(Path, arguments.measure))))
        return
    results = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for frames in (arguments.frames // 5, arguments.frames):
            place = Path(folder) / str(frames)
            size = write_folder(place, frames)
            command = [sys.executable, __file__, "--measure", str(place), f"{place}_store"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout))
            print(results[-1])
    print(json.dumps({"bytes_per_frame": round(size), "few": results[0], "all": results[1]}))


if __name__ == "__main__":
    main()
