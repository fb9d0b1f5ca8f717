"""Peak memory of loading a sharded bfloat16 checkpoint straight into 4 bits.

    python benchmarks/loading_memory.py [--gigabytes 2] [--shard-mb 256] [--folder FOLDER]

Writes a random checkpoint of a policy with a Llama-like decoder in shards, then loads it in a
process of its own and reads that process's high-water mark of resident memory. 7B-class means
13.5 GB in bfloat16, of which 4 bits take 4.2 GB (16 scales and middles of 2 bytes per 512
weights included): the peak stated is the part that does not grow with the model, plus that.
Ends with one JSON line. About a minute per gigabyte on one core.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from policies.inference.stopwatch import PeakMemory
from policies.quantize.config import Int4WeightsConfig
from policies.quantize.quantizer import count_bytes
from policies.streamed_weights import load_in_bits


class Decoder(nn.Module):
    """Linear layers shaped as a decoder's, and an embedding; enough to be loaded."""

    def __init__(self, layers, width=2048, inner=5504, words=8192):
        super().__init__()
        self.embed_tokens = nn.Embedding(words, width)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    **{key: nn.Linear(width, width, bias=False) for key in "qkvo"},
                    "gate": nn.Linear(width, inner, bias=False),
                    "up": nn.Linear(width, inner, bias=False),
                    "down": nn.Linear(inner, width, bias=False),
                    "norm": nn.RMSNorm(width),
                }
            )
            for _ in range(layers)
        )
        self.to(torch.bfloat16)


def write_shards(folder, layers, shard_mb):
    """Random weights of `Decoder(layers)` in files of about `shard_mb`; bytes of all."""
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in Decoder(layers).named_parameters()}
    generator = torch.Generator().manual_seed(0)
    shard, size, total, files = {}, 0, 0, 0
    for name, shape in shapes.items():
        shard[name] = (torch.randn(shape, generator=generator) * 0.02).bfloat16()
        size += shard[name].nbytes
        if size > shard_mb * 2**20 or name == list(shapes)[-1]:
            save_file(shard, folder / f"model-{files:05d}.safetensors")
            shard, total, size, files = {}, total + size, 0, files + 1
    return total, files


def load(folder, layers, portion_mb):
    """In this process: load and tell the peak above what it held before."""
    before = PeakMemory(torch.device("cpu")).read()
    memory, began = PeakMemory(torch.device("cpu")), time.monotonic()
    policy, chosen = load_in_bits(
        lambda: Decoder(layers),
        sorted(Path(folder).glob("*.safetensors")),
        Int4WeightsConfig(gptq=False),
        portion=portion_mb * 2**20,
    )
    print(
        json.dumps(
            {
                "before_mb": before,
                "peak_mb": memory.read(),
                "kept_mb": count_bytes(policy) / 1e6,
                "layers_in_4_bits": len(chosen),
                "seconds": time.monotonic() - began,
            }
        )
    )


def measure(gigabytes, shard_mb, portion_mb, parent=None):
    """Write, load elsewhere, delete; the figures."""
    per_layer = 2 * (4 * 2048 * 2048 + 3 * 2048 * 5504)
    layers = max(1, round((gigabytes * 1e9 - 2 * 8192 * 2048) / per_layer))
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        total, files = write_shards(Path(folder), layers, shard_mb)
        command = [sys.executable, __file__, "--load", folder]
        command += ["--layers", str(layers), "--portion-mb", str(portion_mb)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    told |= {"checkpoint_mb": total / 1e6, "shards": files, "shard_mb": shard_mb,
             "portion_mb": portion_mb}  # fmt: skip
    told["above_kept_mb"] = told["peak_mb"] - told["before_mb"] - told["kept_mb"]
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--shard-mb", type=int, default=256)
    parser.add_argument("--portion-mb", type=int, default=256)
    parser.add_argument("--folder", help="where the checkpoint is written meanwhile")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--layers", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.load, arguments.layers, arguments.portion_mb)
        return
    told = measure(arguments.gigabytes, arguments.shard_mb, arguments.portion_mb, arguments.folder)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
