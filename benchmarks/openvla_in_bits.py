"""A checkpoint of OpenVLA's size goes into 4 bits on a machine on which it does not fit.

    python -m benchmarks.openvla_in_bits [--layers 32] [--folder FOLDER] [--act]

Writes a folder in OpenVLA's public layout with random weights (7.5 billion, 15 GB in bfloat16;
fewer with --layers), takes it through `vla export recipe=int4_weights` in a process of its own,
and with --act loads the result in another and plans once. Told are the peaks of memory that
cannot be given back (anonymous pages; pages of mapped files can, and are read again) and the
largest resident size. To see it hold, run it under a limit, as root with cgroup v1:

    mkdir /sys/fs/cgroup/memory/eight; echo 8G > /sys/fs/cgroup/memory/eight/memory.limit_in_bytes
    sh -c 'echo $$ > /sys/fs/cgroup/memory/eight/cgroup.procs; exec python -m ...'

with cgroup v2: systemd-run --scope -p MemoryMax=8G -p MemorySwapMax=0 python -m ...
Ends with one JSON line. About nine minutes on two cores, and 21 GB of disk.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from policies.backbones.word_pieces import make_tokenizer
from policies.checkpoints.bodies import find_body
from vla.embodiment import Camera
from vla.evaluation.provenance import describe_host, read_versions

KEY = "bridge_orig"
SHARD = 1e9
WIDTH, INNER, WORDS = 4096, 11008, 32064
BODY = replace(find_body(KEY), cameras={"front": Camera(height=224, width=224)})
PLAN = """
import json, sys
import numpy as np
from configs.restoring import load_policy
from benchmarks.openvla_in_bits import BODY
from vla.types import Observation
policy, _ = load_policy(sys.argv[1], device="cpu", embodiment=BODY)
seen = Observation(images={"front": np.zeros((1, 224, 224, 3), np.uint8)},
                   state=np.zeros((1, 7), np.float32), instruction="pick up the cube", time=0.0)
print(json.dumps(policy.act([seen], seeds=[0])[0].actions.tolist()))
"""


def list_shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of openvla-7b's tensors, with another number of Llama's layers."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name: str, out: int, *inner: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (out, *inner)
        if bias:
            shapes[f"{name}.bias"] = (out,)

    for tower, width, mlp, blocks in (("featurizer", 1024, 4096, 24),
                                      ("fused_featurizer", 1152, 4304, 27)):  # fmt: skip
        top = f"vision_backbone.{tower}."
        add(f"{top}patch_embed.proj", width, 3, 14, 14)
        shapes[f"{top}pos_embed"] = (1, 256, width)
        for index in range(blocks):
            block = f"{top}blocks.{index}."
            add(f"{block}attn.qkv", 3 * width, width)
            add(f"{block}attn.proj", width, width)
            add(f"{block}mlp.fc1", mlp, width)
            add(f"{block}mlp.fc2", width, mlp)
            for number in (1, 2):
                add(f"{block}norm{number}", width)
                if tower == "featurizer":
                    shapes[f"{block}ls{number}.scale_factor"] = (width,)
    shapes["vision_backbone.featurizer.cls_token"] = (1, 1, 1024)
    shapes["vision_backbone.featurizer.reg_token"] = (1, 4, 1024)
    for number, (out, inner) in enumerate(((8704, 2176), (WIDTH, 8704), (WIDTH, WIDTH)), 1):
        add(f"projector.fc{number}", out, inner)
    for index in range(layers):
        layer = f"language_model.model.layers.{index}."
        for name in "qkvo":
            add(f"{layer}self_attn.{name}_proj", WIDTH, WIDTH, bias=False)
        add(f"{layer}mlp.gate_proj", INNER, WIDTH, bias=False)
        add(f"{layer}mlp.up_proj", INNER, WIDTH, bias=False)
        add(f"{layer}mlp.down_proj", WIDTH, INNER, bias=False)
        add(f"{layer}input_layernorm", WIDTH, bias=False)
        add(f"{layer}post_attention_layernorm", WIDTH, bias=False)
    add("language_model.model.embed_tokens", WORDS, WIDTH, bias=False)
    add("language_model.model.norm", WIDTH, bias=False)
    add("language_model.lm_head", WORDS, WIDTH, bias=False)
    return shapes


def write_folder(folder: Path, layers: int) -> int:
    """Random weights and what belongs to them; the number of weights."""
    shard, size, count, total = {}, 0, 0, 0
    shapes = list_shapes(layers)
    for name, shape in shapes.items():
        flat = torch.empty(shape, dtype=torch.bfloat16)
        shard[name] = flat.fill_(1) if "norm" in name else flat.uniform_(-0.03, 0.03)
        size, total = size + shard[name].nbytes, total + shard[name].numel()
        if size > SHARD or name == list(shapes)[-1]:
            save_file(shard, folder / f"model-{count:05d}.safetensors")
            shard, size, count = {}, 0, count + 1
    tokenizer = make_tokenizer()
    text = {
        "model_type": "llama", "vocab_size": WORDS, "hidden_size": WIDTH,
        "intermediate_size": INNER, "num_hidden_layers": layers, "num_attention_heads": 32,
        "num_key_value_heads": 32, "pad_token_id": 0,
    }  # fmt: skip
    axes = len(BODY.action)
    statistics = {"action": {"q01": [-1.0] * axes, "q99": [1.0] * axes}}
    settings = {
        "model_type": "openvla", "text_config": text, "n_action_bins": 256,
        "pad_to_multiple_of": WORDS - tokenizer.vocab_size, "norm_stats": {KEY: statistics},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "body.json").write_text(json.dumps(BODY.to_json()))
    tokenizer.save_pretrained(folder)
    return total


def watch(command: list[str]) -> dict:
    """Run it; its peaks, MB, and how long it took."""
    began, anonymous, resident = time.monotonic(), 0, 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            status = dict(
                line.split(":", 1)
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            )
            if "RssAnon" in status:  # not a zombie
                anonymous = max(anonymous, int(status["RssAnon"].split()[0]))
                resident = max(resident, int(status["VmHWM"].split()[0]))
            time.sleep(0.05)
        said = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{command[:5]} ended with status {process.returncode}.")
    return {
        "seconds": round(time.monotonic() - began, 1),
        "anonymous_mb": round(anonymous * 1024 / 1e6),
        "resident_mb": round(resident * 1024 / 1e6),
        "said": said.strip().splitlines()[-1],
    }


def main() -> None:
    """Write, export, and plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--folder", help="where the checkpoints are written meanwhile")
    parser.add_argument("--act", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        source, packed = Path(place) / "openvla", Path(place) / "packed"
        source.mkdir()
        told = {"weights": write_folder(source, options.layers)}
        told["checkpoint_mb"] = sum(f.stat().st_size for f in source.glob("*.safetensors")) / 1e6
        words = [f"checkpoint={source}", f"key={KEY}", f"body={source}/body.json", "format=vla",
                 "dtype=bfloat16", "recipe=int4_weights", f"output={packed}"]  # fmt: skip
        told["export"] = watch([sys.executable, "-m", "vla.cli", "export", *words])
        told["packed_mb"] = (packed / "weights.safetensors").stat().st_size / 1e6
        if options.act:
            told["load_and_plan"] = watch([sys.executable, "-c", PLAN, str(packed)])
    print(json.dumps({**told, "host": describe_host(), "versions": read_versions()}))


if __name__ == "__main__":
    main()
