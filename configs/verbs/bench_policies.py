"""`vla bench policies`: presets on equal data, equal time and equal scenes.

Training and trying are the public verbs, each in a process of its own; only how fast a step is
and how long a plan takes are measured here.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from configs.bench_job import BenchPoliciesJob
from configs.launch import build_job, compose, list_choices
from configs.restoring import build_policy, load_policy, pick_device
from configs.schemas import TrainJob
from configs.verbs.demo import run_stage
from vla.data.store import TrajectoryStore
from vla.errors import UnknownChoice, VlaError
from vla.evaluation.league import to_markdown, write_league
from vla.files import write_json
from vla.types import Observation

if TYPE_CHECKING:
    from vla.contract import Policy

FAST_WORDS = 512  # leaves room in the 1024 symbols that tiny language models read with
TIMED_STEPS = 6
FEWEST_STEPS = 20


def main(job: BenchPoliciesJob) -> None:
    """Run what is missing; write the table; the last line printed is one JSON."""
    output, console = Path(job.output), Console(stderr=True)
    known = list_choices("policy")
    presets = job.policies or [name for name in known if name.startswith("tiny_")]
    for preset in presets:
        if preset not in known:
            raise UnknownChoice("policy", preset, known)
    store = TrajectoryStore.open(job.store)
    settings = {**asdict(job), "store_hash": store.hash, "machine": describe_machine()}
    results = []
    for seed in job.seeds:  # one seed of all first: a run that is stopped compares equals
        for preset in presets:
            console.rule(f"{preset}, seed {seed}", align="left")
            results.append(bench(job, preset, seed, store, console))
            lines = write_league(
                output, results, title="Policies on equal data and time", settings=settings
            )
    console.print(to_markdown(lines), markup=False, soft_wrap=True)
    sys.stdout.write(json.dumps({"output": str(output), "lines": lines}) + "\n")


def bench(
    job: BenchPoliciesJob, preset: str, seed: int, store: TrajectoryStore, console: Console
) -> dict[str, Any]:
    """One run's result, from its file when it finished before with the same settings."""
    folder = Path(job.output) / preset / f"seed-{seed}"
    asked = {
        key: value
        for key, value in {
            **asdict(job),
            "store_hash": store.hash,
            "rate": job.rate(preset),
        }.items()
        if key not in ("policies", "seeds", "output", "learning_rate", "learning_rates", "store")
    }
    kept = folder / "result.json"
    if kept.exists():
        before = json.loads(kept.read_text())
        if before["asked"] == asked:
            console.print("done before")
            return before["result"]
        raise VlaError(
            f"{folder} was made with other settings ({differ(before['asked'], asked)}); give "
            "another output, or delete it."
        )
    words = [*prepare(job, preset, console), f"training.seed={seed}"]
    planned = plan_run(job, folder, asked, words)
    steps = planned["steps"]
    began = time.monotonic()
    run_stage(
        "train", ["train", *words, *list_lengths(steps), *job.train, f"output={folder}/training"]
    )
    seconds = time.monotonic() - began
    size = store.embodiment.cameras["front"].height
    latency, parameters = measure_latency(job, folder / "training", store)
    run_stage(
        "eval",
        [
            "eval",
            f"checkpoint={folder}/training",
            f"world.image_size={size}",
            f"evaluation.episodes={job.episodes}",
            "evaluation.videos=0",
            *job.eval,
            f"output={folder}/evaluation",
        ],
    )
    summary = json.loads((folder / "evaluation" / "summary.json").read_text())
    result = {
        "preset": preset,
        "seed": seed,
        "parameters": parameters,
        "steps": steps,
        "train_seconds": round(seconds, 1),
        "samples_per_s": planned["samples_per_s"],
        "latency_ms": latency,
        "tasks": {name: [rate["successes"], rate["n"]] for name, rate in summary["tasks"].items()},
        "successes": summary["pooled"]["successes"],
        "n": summary["pooled"]["n"],
    }
    write_json(kept, {"asked": asked, "result": result})
    return result


def plan_run(
    job: BenchPoliciesJob, folder: Path, asked: dict[str, Any], words: list[str]
) -> dict[str, Any]:
    """Steps and speed of a run, as first decided. Raises VlaError for other settings."""
    plan = folder / "plan.json"  # a run that goes on must end where it was meant to
    if not plan.exists():
        write_json(plan, {"asked": asked, **measure_steps(job, words)})
    planned = json.loads(plan.read_text())
    if planned["asked"] != asked:
        raise VlaError(
            f"{folder} was begun with other settings ({differ(planned['asked'], asked)}); give "
            "another output, or delete it."
        )
    return planned


def prepare(job: BenchPoliciesJob, preset: str, console: Console) -> list[str]:
    """Overrides of `vla train` for a preset; fits the FAST words it may ask for."""
    words = [
        f"policy={preset}",
        f"data.path={job.store}",
        f"training.batch_size={job.batch_size}",
        f"training.learning_rate={job.rate(preset)}",
        "resume=true",
    ]
    policy = compose("train", [*words, "output=none"]).policy
    for key in find_fast(policy, "policy"):
        folder = Path(job.output) / f"fast-{policy.horizon}-{policy.normalization}"
        if not (folder / "processor_config.json").exists():
            console.print(f"fitting FAST words for {policy.horizon} rows")
            asked = [f"path={job.store}", f"normalization={policy.normalization}"]
            asked += [f"horizon={policy.horizon}", f"vocabulary={FAST_WORDS}", f"output={folder}"]
            run_stage("data tokenizer", ["data", "tokenizer", *asked])
        words.append(f"{key}={folder}")
    return words


def find_fast(node: DictConfig, path: str) -> list[str]:
    """Keys below `path` that want the folder of a FAST tokenizer and have none."""
    if node.get("symbols") == "fast" and not node.get("fast"):
        return [f"{path}.fast"]
    parts = {key: part for key, part in node.items() if isinstance(part, DictConfig)}
    return [found for key, part in parts.items() for found in find_fast(part, f"{path}.{key}")]


def list_lengths(steps: int) -> list[str]:
    """Overrides that make a run `steps` long: short warm-up, one look at held-out data."""
    return [
        f"training.steps={steps}",
        f"training.warmup_steps={min(100, steps // 10)}",
        f"training.eval_every={steps}",
        f"training.checkpoint_every={max(1, steps // 4)}",
        f"training.ema_decay={min(0.995, 1 - 10 / max(steps, 20)):.4f}",
    ]


def measure_steps(job: BenchPoliciesJob, words: list[str]) -> dict[str, Any]:
    """How many steps fit, from a few real ones: reading, forward, backward, update."""
    import torch

    composed: TrainJob = build_job(
        compose("train", [*words, *list_lengths(100), *job.train, "output=none"])
    )
    data, training = composed.data.open(), composed.training
    policy = build_policy(composed.policy, data.body, data.statistics(relative_rows=0))
    policy = policy.to(pick_device(composed.device)).train()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=training.learning_rate)
    windows = {"history": composed.policy.history, "horizon": composed.policy.horizon}
    loader = data.load("train", **windows, batch_size=training.batch_size, seed=0)
    batches = loader.iterate(0)
    device, generator = pick_device(composed.device), torch.Generator().manual_seed(0)
    marks = []
    for _ in range(TIMED_STEPS + 2):  # the first two warm caches
        batch = next(batches).to(device)
        loss, _ = policy.loss(batch, generator=generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        marks.append(time.monotonic())
    batches.close()
    seconds = float(np.median(np.diff(marks[1:])))
    steps = job.steps or max(FEWEST_STEPS, int(job.seconds / seconds))
    return {"steps": steps, "samples_per_s": round(training.batch_size / seconds, 1)}


def measure_latency(
    job: BenchPoliciesJob, checkpoint: Path, store: TrajectoryStore
) -> tuple[dict[str, float], int]:
    """Milliseconds of one plan of one observation, p50 and p99; and parameters."""
    policy, _ = load_policy(str(checkpoint), device="auto", embodiment=store.embodiment)
    seen = observe(store, policy)
    policy.act([seen], seeds=[0])
    times = []
    for call in range(job.calls):
        began = time.perf_counter()
        policy.act([seen], seeds=[call])
        times.append(1000 * (time.perf_counter() - began))
    p50, p99 = np.percentile(times, [50, 99])
    parameters = sum(p.numel() for p in policy.parameters())  # type: ignore[attr-defined]
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}, parameters


def observe(store: TrajectoryStore, policy: "Policy") -> Observation:
    """The first moment of the first episode, as the policy would see it."""
    episode = store.episode(0)
    steps = getattr(policy, "history", 1)
    return Observation(
        images={name: np.repeat(film[:1], steps, axis=0) for name, film in episode.images.items()},
        state=np.repeat(episode.state[:1], steps, axis=0),
        instruction=episode.instruction,
        time=0.0,
    )


def describe_machine() -> str:
    """Processor, cores that may be used, and the Python that ran."""
    cores = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}"


def differ(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which settings differ, as text."""
    keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    return ", ".join(f"{key}: {before.get(key)} then, {now.get(key)} now" for key in keys)
