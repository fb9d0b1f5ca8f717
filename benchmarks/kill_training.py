"""Kill `vla train` with SIGKILL at random moments, resume, and compare the weights bit by bit.

    python benchmarks/kill_training.py STORE [--kills 20] [--steps 120]

One run is left alone; the other is killed `--kills` times at moments drawn at random and
resumed with the same command and resume=true. Ends with one JSON line; exit status 1 when a
single bit of the weights differs.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def command(options: argparse.Namespace, output: Path) -> list[str]:
    """A small policy, float32, with averaging and checkpoints every few steps."""
    return [
        sys.executable, "-m", "vla.cli", "train", f"data.path={options.store}", f"output={output}",
        "policy.backbone.channels=8", "policy.backbone.blocks=2", "policy.backbone.width=64",
        f"training.steps={options.steps}", "training.batch_size=16", "training.warmup_steps=10",
        "training.checkpoint_every=5", "training.eval_every=25", "training.validation_batches=2",
        "training.precision=float32", "training.threads=1", "resume=true",
    ]  # fmt: skip


def digest(output: Path) -> str:
    """SHA-256 of the last checkpoint's deployed and raw weights and optimizer state."""
    last = max((output / "checkpoints").glob("step-*"))
    found = hashlib.sha256()
    for name in ("weights", "training/raw", "training/optimizer"):
        found.update((last / f"{name}.safetensors").read_bytes())
    return found.hexdigest()


def main() -> None:
    """Run, kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    root = Path(tempfile.mkdtemp(prefix="kill-training-"))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    began = time.monotonic()
    subprocess.run(command(options, root / "whole"), check=True, **quiet)
    alone = time.monotonic() - began
    start = min(8.0, 0.5 * alone)  # about what imports take
    kills = []
    while len(kills) < options.kills:
        process = subprocess.Popen(command(options, root / "killed"), **quiet)
        # Most kills come early, so that the run is not over before the last of them.
        wait = draw.uniform(0.5, start + (alone - start) * 2.0 / options.kills)
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        else:
            sys.exit(f"the run ended before it was killed; raise --steps ({options.steps})")
        steps = sorted((root / "killed" / "checkpoints").glob("step-*"))
        kills.append({"after_s": round(wait, 2), "step": steps[-1].name if steps else None})
        print(f"kill {len(kills):2d} after {wait:5.1f} s, newest {kills[-1]['step']}", flush=True)
    subprocess.run(command(options, root / "killed"), check=True, **quiet)
    equal = digest(root / "whole") == digest(root / "killed")
    print(json.dumps({"kills": len(kills), "steps": options.steps, "bit_equal": equal,
                      "uninterrupted_s": round(alone, 1), "moments": kills}))  # fmt: skip
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
