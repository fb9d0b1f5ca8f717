"""Kill `vla eval` with SIGKILL at random moments, resume it, and compare the results.

    python benchmarks/kill_evaluation.py CHECKPOINT [--kills 30] [--episodes 10] [world overrides]

One evaluation is left alone; the other is killed `--kills` times, workers and all, and resumed
with the same command. Ends with one JSON line; exit status 1 when a single episode, count or
interval differs. Durations are left out of the comparison, nothing else is.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIMES = ("seconds", "inference_ms")


def command(options: argparse.Namespace, output: Path, more: list[str]) -> list[str]:
    """The same evaluation into another folder."""
    return [
        sys.executable, "-m", "vla.cli", "eval", f"checkpoint={options.checkpoint}",
        f"output={output}", f"evaluation.episodes={options.episodes}", "evaluation.videos=1",
        "device=cpu", *more,
    ]  # fmt: skip


def read(output: Path) -> tuple[list[dict], dict]:
    """Episodes in order of task and seed, and the result file, without durations."""
    lines = (output / "given" / "episodes.jsonl").read_text().splitlines()
    episodes = [
        {key: value for key, value in json.loads(line).items() if key not in TIMES}
        for line in lines
    ]
    result = json.loads((output / "given" / "result.json").read_text())
    result.pop("timing")
    return sorted(episodes, key=lambda e: (e["task"], e["seed"])), result


def count(output: Path) -> int:
    """Whole lines in the journal so far."""
    path = output / "given" / "episodes.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main() -> None:
    """Run, kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options, more = parser.parse_known_args()
    draw = random.Random(options.seed)
    root = Path(tempfile.mkdtemp(prefix="kill-evaluation-"))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    whole, killed = root / "whole", root / "killed"
    began = time.monotonic()
    subprocess.run(command(options, whole, more), check=True, **quiet)
    alone = time.monotonic() - began
    moments = []
    while len(moments) < options.kills:
        before = count(killed)
        # A session of its own, so that the workers die with their parent, at once.
        process = subprocess.Popen(command(options, killed, more), start_new_session=True, **quiet)
        wait = draw.uniform(0.2, 0.7) * alone if len(moments) % 3 else draw.uniform(0.5, 5.0)
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            moments.append({"after_s": round(wait, 2), "before": before, "kept": count(killed)})
            print(json.dumps(moments[-1]), flush=True)
            continue
        # Finished before it could be killed: begin another one, it must become the same too.
        check(whole, killed)
        killed = root / f"killed-{len(moments)}"
    subprocess.run(command(options, killed, more), check=True, **quiet)
    equal = check(whole, killed)
    print(json.dumps({"kills": len(moments), "episodes": len(read(whole)[0]), "equal": equal,
                      "uninterrupted_s": round(alone, 1), "moments": moments}))  # fmt: skip


def check(whole: Path, killed: Path) -> bool:
    """Whether both are equal. SystemExit(1), with the first difference, when they are not."""
    (episodes, result), (others, other) = read(whole), read(killed)
    for ours, theirs in zip(episodes, others, strict=True):
        if ours != theirs:
            sys.exit(f"episodes differ: {ours} {theirs}")
    if result != other:
        sys.exit(f"results differ: {result} {other}")
    return True


if __name__ == "__main__":
    main()
