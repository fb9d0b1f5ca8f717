"""LIBERO (Liu et al. 2023) from the package hf-libero, in the conventions of its checkpoints."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from envs.benchmarks.libero_conventions import (
    SETTLE_ACTION,
    SETTLE_STEPS,
    assemble_state,
    turn_upright,
)
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ConfigError
from vla.types import Float32, Uint8

HZ = 20.0
VIEWS = {"front": "agentview_image", "wrist": "robot0_eye_in_hand_image"}
"""robosuite's key of each camera."""


def libero_embodiment(*, image_size: int) -> Embodiment:
    """A Panda under operational space control.

    Actions are LIBERO's own numbers: 1 is 5 cm and 0.5 rad per tick; `close` is 1 for closing.
    The rotation in the state is not folded (see libero_conventions), hence its bounds.
    """
    move = [Axis(name=n, unit="1", low=-1.0, high=1.0, mode="delta") for n in ("dx", "dy", "dz")]
    turn = [Axis(name=n, unit="1", low=-1.0, high=1.0, mode="delta") for n in ("drx", "dry", "drz")]
    full = 2 * np.pi
    return Embodiment(
        name="libero_panda",
        state=(
            *(Axis(name=name, unit="m", low=-2.0, high=2.0) for name in ("x", "y", "z")),
            *(Axis(name=name, unit="rad", low=-full, high=full) for name in ("rx", "ry", "rz")),
            *(
                Axis(name=name, unit="m", low=-0.05, high=0.05, frame="joint")
                for name in ("finger1", "finger2")
            ),
        ),
        action=(*move, *turn, Axis(name="close", unit="1", low=-1.0, high=1.0, frame="joint")),
        cameras={
            name: Camera(
                height=image_size,
                width=image_size,
                source="libero",
                mount="hand" if name == "wrist" else "world",
            )
            for name in VIEWS
        },
        hz=HZ,
        rotation="rotvec",
    )


class LiberoSimulator:
    """One LIBERO task; the seed chooses among its stored initial states.

    Args:
        env: an OffScreenRenderEnv of the task, which draws at every tick.
        states: float (N, ...), the task's initial states.
    """

    def __init__(self, env: Any, states: np.ndarray):
        self._env, self._states = env, states
        self._seen: dict[str, np.ndarray] = {}

    def begin(self, seed: int) -> None:
        """See Simulator; the robot then holds still while objects settle."""
        self._env.seed(seed % 2**32)
        self._env.reset()
        self._seen = self._env.set_init_state(self._states[seed % len(self._states)])
        for _ in range(SETTLE_STEPS):
            self._seen, *_ = self._env.step(list(SETTLE_ACTION))

    def advance(self, action: Float32) -> bool:
        """See Simulator."""
        self._seen, *_ = self._env.step(action.astype(np.float64))
        return bool(self._env.check_success())

    def measure(self) -> Float32:
        """See libero_conventions.assemble_state, float32 (8,)."""
        return assemble_state(
            self._seen["robot0_eef_pos"],
            self._seen["robot0_eef_quat"],
            self._seen["robot0_gripper_qpos"],
        )

    def look(self) -> Mapping[str, Uint8]:
        """See Simulator."""
        return {name: turn_upright(self._seen[key])[None] for name, key in VIEWS.items()}

    def close(self) -> None:
        """See Simulator."""
        self._env.close()


def write_package_config(folder: Path, package: Path) -> None:
    """Write LIBERO's config.yaml, without which importing it asks questions on stdin."""
    folder.mkdir(parents=True, exist_ok=True)
    root = package / "libero"
    places = {
        "benchmark_root": root,
        "bddl_files": root / "bddl_files",
        "init_states": root / "init_files",
        "datasets": package / "datasets",
        "assets": root / "assets",
    }
    text = yaml.safe_dump({key: str(path) for key, path in places.items()})
    written = folder / f"config.yaml.{os.getpid()}"
    written.write_text(text, encoding="utf-8")
    written.replace(folder / "config.yaml")


def build_simulator(
    suite: str, number: int, *, image_size: int, package: Path
) -> tuple[LiberoSimulator, str]:
    """The simulator of task `number` of `suite`, and its words.

    Raises:
        ConfigError: when the assets are neither in the package nor can be had.
    """
    folder = Path(os.environ.setdefault("LIBERO_CONFIG_PATH", str(Path.home() / ".libero")))
    if not (folder / "config.yaml").exists():
        write_package_config(folder, package)
    from libero.libero import benchmark, get_libero_path
    from libero.libero.envs import OffScreenRenderEnv

    tasks = benchmark.get_benchmark_dict()[suite]()
    task = tasks.get_task(number)
    file = Path(get_libero_path("bddl_files")) / task.problem_folder / task.bddl_file
    try:
        env = OffScreenRenderEnv(
            bddl_file_name=str(file), camera_heights=image_size, camera_widths=image_size
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"LIBERO does not build {task.name!r} ({error}). Its assets (206 MB) belong into "
            f"{package / 'libero' / 'assets'}: copy that folder of the LIBERO repository there."
        ) from error
    return LiberoSimulator(env, np.asarray(read_states(tasks, number))), task.language


def read_states(tasks: Any, number: int) -> np.ndarray:
    """The stored initial states of a task, read by torch's unpickler for plain arrays only."""
    import torch
    from numpy._core import multiarray

    rebuild = multiarray._reconstruct
    plain = [rebuild, np.ndarray, np.dtype, type(np.dtype(np.float64))]
    plain.append((rebuild, "numpy.core.multiarray._reconstruct"))  # as NumPy 1 wrote it
    with torch.serialization.safe_globals(plain):
        return tasks.get_task_init_states(number)
