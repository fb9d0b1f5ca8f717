"""What `vla doctor` finds out about the machine; each finding with its remedy."""

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from vla.errors import RenderError
from vla.runtime.priority import steady

SHARED = 256e6
"""Bytes of shared memory that pictures and plans of a flight fit into, with room."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table; `remedy` is empty when all is well.

    `vital`: nothing that was asked for works without it.
    """

    subject: str
    found: str
    remedy: str = ""
    vital: bool = False


def check_machine() -> list[Finding]:
    """Python, cores, memory, disk, GPU, scheduling, rendering, films."""
    return [
        Finding("python", f"{platform.python_version()}, vla-stack {version('vla-stack')}"),
        check_cores(),
        check_governor(),
        check_scheduler(),
        check_shared_memory(),
        check_disk(),
        check_accelerator(),
        check_rendering(),
        check_video(),
    ]


def check_cores() -> Finding:
    """Cores this process may use."""
    cores = len(os.sched_getaffinity(0))
    remedy = "" if cores >= 2 else "live control wants a second core for inference"
    return Finding("processor cores", str(cores), remedy)


def check_governor(root: Path = Path("/sys/devices/system/cpu")) -> Finding:
    """Whether the processor may save power while a control loop sleeps."""
    files = sorted(root.glob("cpu[0-9]*/cpufreq/scaling_governor"))
    found = sorted({file.read_text().strip() for file in files})
    if "powersave" in found:
        remedy = "sudo cpupower frequency-set -g performance, for steadier ticks"
        return Finding("processor clock", ", ".join(found), remedy)
    return Finding("processor clock", ", ".join(found) or "not told by this machine")


def check_scheduler() -> Finding:
    """Whether the control loop may ask for real-time scheduling."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    with steady(1) as obtained:  # root in a container may still be refused
        pass
    if obtained != "normal":
        return Finding("real-time scheduling", f"SCHED_FIFO granted (rtprio limit {soft})")
    user = os.environ.get("USER", "USER")
    remedy = (
        f'add "{user} - rtprio 60" to /etc/security/limits.d/robot.conf (in a container: '
        "--cap-add=SYS_NICE --ulimit rtprio=60), then log in anew"
    )
    return Finding("real-time scheduling", f"not permitted (rtprio limit {soft})", remedy)


def check_shared_memory(path: str = "/dev/shm") -> Finding:
    """Room for pictures and plans between the processes of a flight."""
    try:
        free = shutil.disk_usage(path).free
    except OSError as error:
        return Finding("shared memory", f"{path}: {error.strerror}", f"mount a tmpfs at {path}")
    remedy = "" if free > SHARED else "in a container: --shm-size=1g"
    return Finding("shared memory", f"{free / 1e9:.1f} GB", remedy)


def check_disk() -> Finding:
    """Free space where runs are written."""
    free = shutil.disk_usage(".").free / 1e9
    return Finding("free disk", f"{free:.0f} GB", "" if free > 5 else "keep 5 GB free for runs")


def check_accelerator(device: Path = Path("/dev/nvidia0")) -> Finding:
    """The CUDA device, if torch can use one."""
    import torch

    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        return Finding("accelerator", f"{facts.name}, {facts.total_memory / 1e9:.0f} GB")
    if device.exists():
        remedy = (
            f"torch {torch.__version__} was built for CUDA {torch.version.cuda}: update the "
            "driver (nvidia-smi tells its CUDA version), or install a torch built for it"
            if torch.version.cuda
            else f"torch {torch.__version__} is a CPU build: install one for CUDA"
        )
        return Finding("accelerator", "an NVIDIA GPU that torch cannot use", remedy)
    return Finding("accelerator", "none; the tiny presets train and run on the CPU")


def check_rendering() -> Finding:
    """Draw one frame of the tabletop."""
    from envs.config import TabletopConfig

    try:
        world = TabletopConfig(image_size=64).build("reach")
        world.reset(seed=0)
        world.close()
    except RenderError as error:
        return Finding("headless rendering", "fails", str(error), vital=True)
    return Finding("headless rendering", f"works (MUJOCO_GL={os.environ.get('MUJOCO_GL', '')})")


def check_video() -> Finding:
    """An encoder whose films every browser plays."""
    import av

    if "libx264" in av.codecs_available:
        return Finding("video encoder", "H.264")
    return Finding("video encoder", "no H.264; reports fall back to another codec")
