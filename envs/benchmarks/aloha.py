"""ALOHA's two simulated tasks (Zhao et al. 2023) in gym-aloha's scene, drawn by us.

gym-aloha draws three pictures of 640 x 480 at every tick, whatever is asked for, and declares
actions between -1 and 1 although joint targets go beyond (the resting elbow is at 1.16 rad): a
wrapper that clips to its action space moves the arms. Here the bounds are the joints' own.
"""

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from envs.view import SceneView
from vla.embodiment import Axis, Camera, Embodiment
from vla.types import Float32, Uint8

HZ = 50.0
REWARD = 4
"""The task's largest reward, which LeRobot counts as success."""
TASKS = {
    "transfer_cube": "pick up the red cube with the right arm and hand it to the left arm",
    "insertion": "put the red peg into the blue socket",
}
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
LIMITS = (
    (-3.14158, 3.14158), (-1.85005, 1.25664), (-1.76278, 1.6057),
    (-3.14158, 3.14158), (-1.8675, 2.23402), (-3.14158, 3.14158),
)  # fmt: skip
"""Radians, of a ViperX 300 (Trossen's specification, and the ranges in the scene's file)."""


def aloha_embodiment(*, height: int, width: int, quality: str) -> Embodiment:
    """Two ViperX 300: joint positions and grippers from 0 (closed) to 1 (open), left arm first."""

    def axes(reach: float) -> tuple[Axis, ...]:
        return tuple(
            axis
            for side in ("left", "right")
            for axis in (
                *(
                    Axis(name=f"{side}_{name}", unit="rad", low=low, high=high, frame="joint")
                    for name, (low, high) in zip(JOINTS, LIMITS, strict=True)
                ),
                Axis(name=f"{side}_gripper", unit="1", low=-reach, high=1 + reach, frame="joint"),
            )
        )

    return Embodiment(
        name="aloha_sim",
        state=axes(0.1),
        action=axes(0.0),
        cameras={"top": Camera(height=height, width=width, source=f"gym_aloha:{quality}")},
        hz=HZ,
        gripper="open_is_one",
    )


class AlohaSimulator:
    """One of gym-aloha's tasks.

    Args:
        task: "transfer_cube" or "insertion".
        cameras: sizes of "top".
        quality: see SceneView.
    """

    def __init__(self, task: str, *, cameras: Mapping[str, Camera], quality: str):
        from gym_aloha.env import AlohaEnv

        self._env = AlohaEnv(task, obs_type="pixels_agent_pos")
        self._inner: Any = self._env._env
        unseen = np.zeros((1, 1, 3), np.uint8)
        inner_task = self._inner.task
        inner_task.get_observation = lambda physics: {
            "qpos": inner_task.get_qpos(physics),
            "images": {"top": unseen},
        }
        physics = self._inner.physics
        model, data = physics.model.ptr, physics.data.ptr
        mujoco.mj_forward(model, data)
        self._view = SceneView(model, data, cameras=cameras, views={"top": "top"}, quality=quality)
        self._joints = np.zeros(14)

    def begin(self, seed: int) -> None:
        """See Simulator."""
        self._view.keep()
        # gym-aloha seeds NumPy's legacy generator, which takes 32 bits.
        folded = int(np.random.SeedSequence(seed).generate_state(1)[0]) if seed >= 2**32 else seed
        seen, _ = self._env.reset(seed=folded)
        self._joints = seen["agent_pos"]

    def advance(self, action: Float32) -> bool:
        """See Simulator."""
        self._view.keep()
        seen, reward, _, _, _ = self._env.step(action)
        self._joints = seen["agent_pos"]
        return reward == REWARD

    def measure(self) -> Float32:
        """Joint positions and gripper openings, float32 (14,)."""
        return self._joints.astype(np.float32)

    def look(self) -> Mapping[str, Uint8]:
        """See Simulator."""
        return self._view.look()

    def close(self) -> None:
        """See Simulator."""
        self._view.close()
