"""LeRobot finds this package by its name; importing it registers the robot type "vla"."""

from lerobot_robot_vla.vla_robot import VlaRobot, VlaRobotConfig, as_lerobot

__all__ = ["VlaRobot", "VlaRobotConfig", "as_lerobot"]
