"""`vla doctor`: what this machine can do, each finding with its remedy."""

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from configs.jobs import DoctorJob
from configs.restoring import load_policy
from vla.errors import EmbodimentMismatch, RenderError
from vla.runtime.priority import steady


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table; `remedy` is empty when all is well."""

    subject: str
    found: str
    remedy: str = ""


def main(job: DoctorJob) -> None:
    """Print the findings; exit status 1 when something that every verb needs is broken."""
    rendering = check_rendering()
    findings = [
        Finding("python", platform.python_version()),
        check_cores(),
        check_disk(),
        check_accelerator(),
        check_scheduler(),
        rendering,
        check_video(),
        *check_devices(),
    ]
    if job.checkpoint:
        findings.append(check_contract(job))
    table = Table(title="vla doctor", title_justify="left")
    for column in ("", "subject", "found", "remedy"):
        table.add_column(column)
    for finding in findings:
        mark = "[yellow]![/]" if finding.remedy else "[green]ok[/]"
        table.add_row(mark, finding.subject, finding.found, finding.remedy)
    Console().print(table)
    if rendering.remedy:
        raise SystemExit(1)


def check_cores() -> Finding:
    """Cores this process may use."""
    cores = len(os.sched_getaffinity(0))
    remedy = "" if cores >= 2 else "live control wants a second core for inference"
    return Finding("processor cores", str(cores), remedy)


def check_disk() -> Finding:
    """Free space where runs are written."""
    free = shutil.disk_usage(".").free / 1e9
    return Finding("free disk", f"{free:.0f} GB", "" if free > 5 else "keep 5 GB free for runs")


def check_accelerator() -> Finding:
    """The CUDA device, if torch can use one."""
    import torch

    if torch.cuda.is_available():
        return Finding("accelerator", torch.cuda.get_device_name(0))
    return Finding("accelerator", "none; the tiny presets train and run on the CPU")


def check_scheduler() -> Finding:
    """Whether the control loop may ask for real-time scheduling."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    with steady(1) as obtained:  # root in a container may still be refused
        pass
    if obtained != "normal":
        return Finding("real-time scheduling", f"granted (rtprio limit {soft})")
    remedy = "grant rtprio in /etc/security/limits.conf or CAP_SYS_NICE for steadier ticks"
    return Finding("real-time scheduling", "not permitted", remedy)


def check_devices() -> list[Finding]:
    """Serial ports, cameras and input devices, and whether this user may open them."""
    kinds = (
        ("serial ports", ("ttyACM*", "ttyUSB*"), "dialout"),
        ("cameras", ("video*",), "video"),
    )
    findings = []
    for subject, patterns, group in kinds:
        paths = sorted(path for pattern in patterns for path in Path("/dev").glob(pattern))
        closed = [path.name for path in paths if not os.access(path, os.R_OK | os.W_OK)]
        found = ", ".join(path.name for path in paths) or "none"
        remedy = f"no permission for {', '.join(closed)}: join group {group}" if closed else ""
        findings.append(Finding(subject, found, remedy))
    timers = {
        path.parent.name: int(path.read_text())
        for path in Path("/sys/bus/usb-serial/devices").glob("*/latency_timer")
    }
    slow = [name for name, milliseconds in timers.items() if milliseconds > 1]
    if slow:
        remedy = f"echo 1 > /sys/bus/usb-serial/devices/{slow[0]}/latency_timer (16 ms per reply)"
        findings.append(Finding("serial latency", f"{timers} ms", remedy))
    return findings


def check_contract(job: DoctorJob) -> Finding:
    """Whether the checkpoint speaks to the body it is meant for."""
    body = job.world.embodiment()
    policy, weights = load_policy(job.checkpoint, device="cpu", embodiment=body)
    try:
        policy.embodiment.require(body, mine="checkpoint", theirs="world")
    except EmbodimentMismatch as error:
        return Finding("contract", "checkpoint and world differ", str(error))
    return Finding("contract", f"fits {body.name} ({body.hash[:12]}), weights {weights[:12]}")


def check_rendering() -> Finding:
    """Draw one frame of the tabletop."""
    from envs.config import TabletopConfig

    try:
        world = TabletopConfig(image_size=64).build("reach")
        world.reset(seed=0)
        world.close()
    except RenderError as error:
        return Finding("headless rendering", "fails", str(error))
    return Finding("headless rendering", f"works (MUJOCO_GL={os.environ.get('MUJOCO_GL', '')})")


def check_video() -> Finding:
    """An encoder whose films every browser plays."""
    import av

    if "libx264" in av.codecs_available:
        return Finding("video encoder", "H.264")
    return Finding("video encoder", "no H.264; reports fall back to another codec")
