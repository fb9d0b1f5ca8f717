"""Meta-World v3 (Yu et al. 2019; package metaworld 3.0.0) without its viewer.

The scene, the camera's place and the turned picture are those of LeRobot's environment and data
set, so that in quality "full" the frames are the same to the pixel; see the test.
"""

import warnings
from collections.abc import Mapping
from types import MappingProxyType

import mujoco
import numpy as np

from envs.view import SceneView
from vla.embodiment import Axis, Camera, Embodiment
from vla.types import Float32, Uint8

HZ = 80.0
CORNER2 = (0.75, 0.075, 0.7)
"""Where the field moves camera corner2 to, metres (LeRobot's environment, Evo-1)."""
TURNED = frozenset({"corner2"})
CAMERAS = ("corner2", "corner", "corner3", "topview", "behindGripper", "gripperPOV")
_STATE = (("x", -0.525, 0.525), ("y", 0.348, 1.025), ("z", -0.0525, 0.7))


def metaworld_embodiment(*, cameras: list[str], image_size: int, quality: str) -> Embodiment:
    """The Sawyer hand of Meta-World.

    Actions are the benchmark's own numbers, so that public data and checkpoints fit: dx, dy, dz
    of the mocap target in centimetres (-1 to 1 is the most per tick), and `close`, the gripper's
    effort from -1 (opening) to 1 (closing). The state tells the hand's place in metres and
    `opening`, the distance of the fingers from 0 to 1 (10 cm).
    """
    body = "gripperPOV", "behindGripper"
    return Embodiment(
        name="metaworld_sawyer",
        state=(
            *(Axis(name=name, unit="m", low=low, high=high) for name, low, high in _STATE),
            Axis(name="opening", unit="1", low=-1.0, high=1.0, frame="joint"),
        ),
        action=(
            *(
                Axis(name=name, unit="cm", low=-1.0, high=1.0, mode="delta")
                for name in ("dx", "dy", "dz")
            ),
            Axis(name="close", unit="1", low=-1.0, high=1.0, frame="joint"),
        ),
        cameras={
            name: Camera(
                height=image_size,
                width=image_size,
                source=f"metaworld:{quality}",
                mount="hand" if name in body else "world",
            )
            for name in cameras
        },
        hz=HZ,
    )


class MetaworldSimulator:
    """One Meta-World task; layouts follow the seed.

    Args:
        task: e.g. "push-v3".
        cameras: what is drawn, see `metaworld_embodiment`.
        quality: see SceneView.
    """

    def __init__(self, task: str, *, cameras: Mapping[str, Camera], quality: str):
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS

        self.task, self._main = task, next(iter(cameras))
        self._env = env = ALL_V3_ENVIRONMENTS[task]()
        # What MT1(...).set_task does, without its fifty resets: goals are observed (scripted
        # experts need them), and each reset draws a layout from the seed.
        env._partially_observable = False
        env.__dict__.pop("sawyer_observation_space", None)
        env._set_task_called = True
        env._freeze_rand_vec, env.seeded_rand_vec = False, True
        env.max_path_length = np.iinfo(np.int64).max  # BenchmarkWorld counts the ticks
        env.model.camera("corner2").pos = CORNER2
        self._seen = np.zeros(39)
        self._view = SceneView(
            env.model,
            env.data,
            cameras=cameras,
            views=MappingProxyType({name: name for name in cameras}),
            quality=quality,
            turned=TURNED,
        )

    def begin(self, seed: int) -> None:
        """See Simulator."""
        self._view.keep()
        self._env.seed(seed)
        self._seen, _ = self._env.reset(seed=seed)
        mujoco.mj_forward(self._env.model, self._env.data)

    def advance(self, action: Float32) -> bool:
        """See Simulator; success is the benchmark's own verdict on this tick."""
        self._view.keep()
        self._seen, _, _, _, info = self._env.step(action)
        return bool(info["success"])

    def measure(self) -> Float32:
        """Hand x, y, z in metres and the opening, float32 (4,)."""
        return self._seen[:4].astype(np.float32)

    def look(self) -> Mapping[str, Uint8]:
        """See Simulator."""
        return self._view.look()

    def close(self) -> None:
        """See Simulator."""
        self._view.close()

    def labels(self) -> dict[str, Float32]:
        """Where the thing ("target") and its destination ("goal") are, see Labelled.

        In the first camera; with "_offset" from the hand, base frame, tenths of a metre. In reach
        tasks there is nothing to move and the goal is both.
        """
        hand, goal = self._seen[:3], self._seen[36:39]
        target = goal if self.task.startswith("reach") else self._seen[4:7]
        found: dict[str, Float32] = {}
        for name, point in (("target", target), ("goal", goal)):
            found[name] = self._view.project(point, self._main)
            found[f"{name}_offset"] = (10.0 * (point - hand)).astype(np.float32)
        return found

    def observe_all(self) -> np.ndarray:
        """The benchmark's own observation, float64 (39,): objects and goal, for experts only."""
        return self._seen.copy()


class MetaworldExpert:
    """The package's scripted policy of one task, bounded to the action space."""

    def __init__(self, task: str):
        from metaworld.policies import ENV_POLICY_MAP

        self._policy = ENV_POLICY_MAP[task]()

    def __call__(self, simulator: MetaworldSimulator) -> Float32:
        """The action (4,) for the present state."""
        with warnings.catch_warnings():
            # "Constant(s) may be too high. Environments clip response": so do we, below.
            warnings.simplefilter("ignore", UserWarning)
            action = self._policy.get_action(simulator.observe_all())
        return np.clip(action, -1.0, 1.0).astype(np.float32)
