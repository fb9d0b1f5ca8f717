"""Franka Kitchen (Gupta et al. 2019) from gymnasium-robotics, with pictures and words.

The five subtasks are those of EmbodiedGPT (arXiv 2305.15021) and R3M as far as the package has
them: its burner is knob 2 and its hinge cabinet the right door, where R3M took knob 1 and the
left one. The package's scene never varies; here the arm's start does, by `start_noise`.
"""

import warnings
from collections.abc import Mapping

import mujoco
import numpy as np

from envs.view import SceneView
from vla.embodiment import Axis, Camera, Embodiment
from vla.types import Float32, Uint8

HZ = 12.5
TASKS = {
    "slide_cabinet": ("slide cabinet", "slide the cabinet door open"),
    "light_switch": ("light switch", "switch the light on"),
    "burner": ("bottom burner", "turn the knob of the lower burner"),
    "hinge_cabinet": ("hinge cabinet", "open the hinged cabinet door"),
    "microwave": ("microwave", "open the microwave"),
}
"""The package's name of each subtask, and the words."""


def kitchen_embodiment(*, image_size: int, quality: str) -> Embodiment:
    """A Franka arm driven by joint velocities.

    Actions are the benchmark's own numbers: 1 is 2 rad/s for the seven joints and 2 m/s for the
    two fingers. The state is what its noisy encoders say, radians and metres.
    """
    joints = [f"joint{index + 1}" for index in range(7)]
    fingers = ["finger1", "finger2"]
    return Embodiment(
        name="franka_kitchen",
        state=(
            *(Axis(name=n, unit="rad", low=-3.2, high=3.2, frame="joint") for n in joints),
            *(Axis(name=n, unit="m", low=-0.01, high=0.06, frame="joint") for n in fingers),
        ),
        action=tuple(
            Axis(name=f"{name}_velocity", unit="1", low=-1.0, high=1.0, frame="joint")
            for name in (*joints, *fingers)
        ),
        cameras={"front": Camera(height=image_size, width=image_size, source=f"kitchen:{quality}")},
        hz=HZ,
    )


class KitchenSimulator:
    """One subtask; success is the package's own (within 0.3 of the goal position).

    Args:
        task: a key of TASKS.
        cameras: size of "front"; the package's own two views show too little.
        quality: see SceneView.
        start_noise: half width of the uniform noise on the arm's start, radians.
    """

    def __init__(
        self, task: str, *, cameras: Mapping[str, Camera], quality: str, start_noise: float
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from gymnasium_robotics.envs.franka_kitchen.kitchen_env import KitchenEnv
        self._env = KitchenEnv(tasks_to_complete=[TASKS[task][0]])
        self._start_noise = start_noise
        self._joints = np.zeros(9)
        eye = mujoco.MjvCamera()
        eye.lookat[:] = (-0.2, 0.5, 2.0)
        eye.distance, eye.azimuth, eye.elevation = 2.2, 70.0, -35.0
        self._view = SceneView(
            self._env.model,
            self._env.data,
            cameras=cameras,
            views={"front": eye},
            quality=quality,
        )

    def begin(self, seed: int) -> None:
        """See Simulator."""
        self._view.keep()
        self._env.reset(seed=seed)
        robot, data = self._env.robot_env, self._env.data
        noise = np.random.default_rng(seed).uniform(-1, 1, 7) * self._start_noise
        joints = data.qpos.copy()
        joints[:7] += noise
        robot.set_state(joints, np.zeros_like(data.qvel))
        self._joints = robot._get_obs()[:9]  # also what its velocity control starts from

    def advance(self, action: Float32) -> bool:
        """See Simulator."""
        self._view.keep()
        seen, reward, _, _, _ = self._env.step(action.astype(np.float64))
        self._joints = seen["observation"][:9]
        return reward > 0

    def measure(self) -> Float32:
        """Joint angles and finger positions, float32 (9,)."""
        return self._joints.astype(np.float32)

    def look(self) -> Mapping[str, Uint8]:
        """See Simulator."""
        return self._view.look()

    def close(self) -> None:
        """See Simulator."""
        self._view.close()
