"""Our worlds in lerobot-eval: `lerobot-eval --env.type=vla --env.world=tabletop --env.task=lift`.

LeRobot imports this module when the distribution lerobot_env_vla is installed; importing it
registers the environment type.
"""

from lerobot_env_vla.config import VlaEnvConfig

__all__ = ["VlaEnvConfig"]
