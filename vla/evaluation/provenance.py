"""Where a number comes from: enough to tell whether two runs measured the same thing."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vla.contract import Policy
from vla.errors import DataError
from vla.files import write_json

PACKAGES = ("vla-stack", "numpy", "torch", "transformers", "mujoco", "gymnasium")


def describe_setup(policy: Policy, *, world: Any, control: Any, **more: Any) -> dict[str, Any]:
    """What decides the outcomes; runs with equal setups may share a directory.

    Args:
        policy: for its embodiment and history.
        world: config object (a dataclass).
        control: config object (a dataclass).
        more: JSON values, e.g. the hash of the policy's weights.
    """
    setup = {
        "embodiment": policy.embodiment.hash,
        "history": policy.history,
        "world": _to_json(world),
        "control": _to_json(control),
        "packages": read_versions(),
        "git_commit": read_commit(),
        **more,
    }
    return json.loads(json.dumps(setup))


def describe_world(world: Any) -> Any:
    """A world's config as it stands in a stored setup."""
    return json.loads(json.dumps(_to_json(world)))


def describe_host() -> dict[str, Any]:
    """The machine and the interpreter; does not decide outcomes, but explains timings."""
    return {
        "cpu": _read_cpu(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def read_versions() -> dict[str, str | None]:
    """Installed versions by distribution name; None where there is none."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def read_commit() -> str | None:
    """Commit of the repository this code runs from, "+changes" when edited; None without one."""
    here = Path(__file__).parent
    try:
        commit = _ask_git(here, "rev-parse", "HEAD")
        edited = _ask_git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None  # an installed copy, or no git: nothing to tell
    return commit + ("+changes" if edited else "")


def claim_directory(directory: Path, setup: dict[str, Any]) -> None:
    """Write `setup` to a new directory, or check that an old one measured the same thing.

    Raises:
        DataError: naming what differs from the run that the directory belongs to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "setup.json"
    if not path.exists():
        write_json(path, setup)
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); evaluate into a new directory.") from error
    keys = sorted(earlier.keys() | setup.keys())
    differing = [key for key in keys if earlier.get(key) != setup.get(key)]
    if differing:
        lines = "\n  ".join(
            f"{key}: then {earlier.get(key)!r}, now {setup.get(key)!r}" for key in differing
        )
        raise DataError(
            f"{directory} holds an evaluation of something else:\n  {lines}\n"
            "Its episodes cannot be mixed with new ones; evaluate into a new directory."
        )


def _to_json(value: Any) -> Any:
    return {"type": type(value).__name__, **asdict(value)} if is_dataclass(value) else repr(value)


def _ask_git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _read_cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor()
