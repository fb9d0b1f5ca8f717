"""`vla bench inference`: plans by phase, batch, format and mode, against what the device can do."""

import gc
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from configs.bench_inference_job import STORED, BenchInferenceJob
from configs.bench_subjects import (
    Subject,
    convert,
    deploy,
    observe,
    open_checkpoint_subject,
    open_preset,
)
from configs.restoring import pick_device
from vla.errors import ConfigError
from vla.evaluation.latency_report import HEADINGS, show, to_markdown, write_latency
from vla.evaluation.provenance import describe_host, read_commit, read_versions
from vla.types import Float32, Observation

if TYPE_CHECKING:
    import torch
    from torch import nn

PHASE_PLANS = 5
ROOM = 1.15  # times its weights that a policy is expected to take


def main(job: BenchInferenceJob) -> None:
    """Measure all variants; write the tables; the last line printed is one JSON."""
    import torch

    from policies.inference.roofline import measure_roofline

    device, console = torch.device(pick_device(job.device)), Console(stderr=True)
    if job.threads:
        torch.set_num_threads(job.threads)
    subjects = [open_preset(job, name, device) for name in job.policies]
    subjects += [open_checkpoint_subject(path, device) for path in job.checkpoints]
    roofline = measure_roofline(device, seconds=min(1.0, job.seconds / 10))
    settings = {
        **asdict(job),
        "roofline": roofline.to_json(),
        "host": {**describe_host(), "load": os.getloadavg(), "threads": torch.get_num_threads()},
        "versions": read_versions(),
        "commit": read_commit(),
    }
    rows: list[dict[str, Any]] = []
    for subject in subjects:
        console.rule(f"{subject.name}, {subject.parameters / 1e6:,.1f} M parameters", align="left")
        for row in measure(job, subject, device, roofline):
            rows.append({**row, "verdict": judge(job, row, roofline.device)})
            console.print("  ".join(show(rows[-1])), markup=False, highlight=False)
            write_latency(Path(job.output), rows, title="Inference", settings=settings)
    console.print(tabulate(rows))
    console.print(to_markdown(rows), markup=False, soft_wrap=True)
    sys.stdout.write(json.dumps({"output": job.output, "rows": rows, **settings}) + "\n")


def measure(
    job: BenchInferenceJob, subject: Subject, device: "torch.device", roofline: Any
) -> Iterator[dict[str, Any]]:
    """Rows of one subject, those of float32 first: the others' errors are against it."""
    from policies.inference.stopwatch import (
        PeakMemory,
        describe_timing,
        measure_error,
        split_plan,
        time_plans,
    )  # fmt: skip
    from policies.quantize.quantizer import count_bytes

    reference: list[Float32] | None = None
    for dtype in order_formats(job, subject, device):
        memory = PeakMemory(device)
        policy = convert(subject, dtype)
        some = observe(job, policy)
        if dtype == "float32":
            reference = plan_each(policy, some)
        if dtype not in job.dtypes:
            del policy
            collect()
            continue
        for mode in job.modes:
            deployed = deploy(policy, dtype, mode)
            for batch in job.batches:
                timing = time_plans(
                    deployed, some[:batch], device=device, warmup=job.warmup, calls=job.calls,
                    seconds=job.seconds,
                )  # fmt: skip
                phases, error = None, dict.fromkeys(("error_max", "error_mean"))
                if mode == "eager" and batch == 1:
                    phases = split_plan(
                        policy, deployed.act, some[:1], device=device, roofline=roofline,
                        dtype=find_rate(dtype), calls=min(PHASE_PLANS, job.calls),
                    )  # fmt: skip
                if reference is not None:
                    plans = deployed.act(some[:batch], seeds=list(range(batch)))
                    error = measure_error([chunk.actions for chunk in plans], reference)
                yield {
                    "policy": subject.name,
                    "parameters": subject.parameters,
                    "dtype": dtype,
                    "mode": mode,
                    **describe_timing(timing, batch),
                    "weights_mb": count_bytes(policy) / 1e6,
                    "peak_mb": memory.read(),
                    "floor_ms": phases and sum(part["floor_ms"] for part in phases.values()),
                    "phases": phases,
                    **error,
                }
        if job.peers and subject.made_up and dtype in STORED:
            yield from measure_peers(job, policy, dtype, device, reference)
        del policy, deployed
        collect()


def order_formats(job: BenchInferenceJob, subject: Subject, device: "torch.device") -> list[str]:
    """The formats, float32 first; it comes unasked, as the reference, where it fits.

    Raises:
        ConfigError: when it is asked for and does not fit.
    """
    fits = 4 * subject.parameters * ROOM < free_bytes(device)
    others = [dtype for dtype in job.dtypes if dtype != "float32"]
    if fits:
        return ["float32", *others]
    if "float32" in job.dtypes:
        raise ConfigError(
            f"{subject.name} in float32 takes {4e-9 * subject.parameters:.1f} GB, which are not "
            "free; leave float32 out of dtypes."
        )
    return others


def measure_peers(
    job: BenchInferenceJob,
    policy: "nn.Module",
    dtype: str,
    device: "torch.device",
    reference: list[Float32] | None,
) -> Iterator[dict[str, Any]]:
    """Rows of LeRobot's class with the same weights and the same inputs, if it has one."""
    from policies.checkpoints.lerobot_export import choose_type
    from policies.inference.stopwatch import (
        PeakMemory,
        describe_timing,
        measure_error,
        time_plans,
    )  # fmt: skip

    try:
        kind = choose_type(policy)
    except ConfigError:
        return
    from policies.lerobot_peer import LerobotPeer

    some = observe(job, policy)
    for mode in job.modes:
        memory = PeakMemory(device)
        peer = LerobotPeer(policy, kind, compile_mode="" if mode == "eager" else mode)
        for batch in job.batches:
            timing = time_plans(
                peer, some[:batch], device=device, warmup=job.warmup, calls=job.calls,
                seconds=job.seconds,
            )  # fmt: skip
            error = {"error_max": None, "error_mean": None}
            if reference is not None:
                plans = peer.act(some[:batch], seeds=list(range(batch)))
                error = measure_error([chunk.actions for chunk in plans], reference)
            yield {
                "policy": f"lerobot {kind}",
                "parameters": peer.parameters,
                "dtype": dtype,
                "mode": mode,
                **describe_timing(timing, batch),
                "weights_mb": peer.bytes / 1e6,
                "peak_mb": memory.read(),
                "floor_ms": None,
                **error,
            }
        del peer
        collect()


def plan_each(policy: Any, some: list[Observation]) -> list[Float32]:
    """Plans (H, A), one observation at a time."""
    return [policy.act([one], seeds=[k])[0].actions for k, one in enumerate(some)]


def free_bytes(device: "torch.device") -> float:
    """Memory that is free there now."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def collect() -> None:
    """Give the memory of what was deleted back."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def judge(job: BenchInferenceJob, row: dict[str, Any], device: str) -> str:
    """The verdict against the target; only on the device that it is meant for."""
    target = job.targets.get(row["policy"])
    if target is None or row["batch"] != 1:
        return ""
    if job.target_device not in device:
        return f"{target:g} ms on {job.target_device}: not measured"
    return f"{target:g} ms: {'met' if row['p99_ms'] <= target else 'missed'}"


def tabulate(rows: list[dict[str, Any]]) -> Table:
    """All rows for the terminal."""
    table = Table(title="plans", title_justify="left")
    for head in HEADINGS:
        table.add_column(head)
    for row in rows:
        table.add_row(*show(row))
    return table


def find_rate(dtype: str) -> str:
    """In which format the products of a variant are computed."""
    return dtype if dtype in ("float32", "int8", "float8") else "bfloat16"
