"""LeRobot finds this package by its name; importing it registers the policy type "vla".

The modules are named as LeRobot's factory wants them: it finds the policy and its processors
by replacing `configuration_` in the name of the module that the config is in.
"""

from lerobot_policy_vla.configuration_vla import VlaConfig

__all__ = ["VlaConfig"]
