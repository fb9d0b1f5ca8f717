"""The environment type "vla" for LeRobot's command line."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from configs.restoring import restore_config
from envs.config import WorldConfig
from lerobot_env_vla.env import VlaEnv


@EnvConfig.register_subclass("vla")
@dataclass
class VlaEnvConfig(EnvConfig):
    """Any world with a config in vla-stack.

    Attributes:
        world: kind of the world, see `vla list world`.
        task: one or several tasks, separated by commas; each becomes a task id.
        image_size: pixels; 0 takes the world's default.
        quality: "fast" or "full"; "" takes the world's default.
    """

    task: str | None = "lift"
    world: str = "tabletop"
    image_size: int = 0
    quality: str = ""

    def __post_init__(self) -> None:
        body = self.world_config().embodiment()
        self.fps = round(body.hz)
        self.features = {
            ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(len(body.action),)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(len(body.state),)),
        }
        self.features_map = {ACTION: ACTION, "agent_pos": OBS_STATE}
        for name, camera in body.cameras.items():
            shape = (camera.height, camera.width, 3)
            self.features[f"pixels/{name}"] = PolicyFeature(type=FeatureType.VISUAL, shape=shape)
            self.features_map[f"pixels/{name}"] = f"{OBS_IMAGES}.{name}"

    def world_config(self) -> WorldConfig:
        """The world's own config. Raises ConfigError for what it does not know."""
        value: dict[str, Any] = {"kind": self.world, "tasks": (self.task or "").split(",")}
        if self.image_size:
            value["image_size"] = self.image_size
        if self.quality:
            value["quality"] = self.quality
        return restore_config("world", value)

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Nothing: environments are built from `world_config`."""
        return {}

    def create_envs(
        self, n_envs: int, use_async_envs: bool = False
    ) -> dict[str, dict[int, gymnasium.vector.VectorEnv]]:
        """{world: {task id: vector env of `n_envs`}}."""
        config = self.world_config()
        found: dict[int, gymnasium.vector.VectorEnv] = {}
        same_step = gymnasium.vector.AutoresetMode.SAME_STEP
        for number, task in enumerate(config.tasks):
            builders = [partial(VlaEnv, config, task)] * n_envs
            if use_async_envs and n_envs > 1:
                found[number] = gymnasium.vector.AsyncVectorEnv(
                    builders, autoreset_mode=same_step, context="forkserver"
                )
            else:
                found[number] = gymnasium.vector.SyncVectorEnv(builders, autoreset_mode=same_step)
        return {self.world: found}
