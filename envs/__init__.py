"""Worlds to act in: the native tabletop suite and any Gymnasium environment with images."""

import os
import sys

# MuJoCo chooses its GL library while it is imported and takes GLFW unless told otherwise, which
# cannot work without a display. Whatever the user has set stays.
if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"} & os.environ.keys():
    os.environ["MUJOCO_GL"] = "egl"
