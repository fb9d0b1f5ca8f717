"""Pictures cross the process whole, with their times; failures arrive in words."""

import time
from dataclasses import dataclass

import numpy as np
import pytest

from robot_drivers.camera_process import ProcessCameras
from robot_drivers.cameras import CameraSource
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import RobotError

AXES = (Axis(name="j", unit="rad", low=-1, high=1, frame="joint"),)
BODY = Embodiment(
    name="seeing", state=AXES, action=AXES, cameras={"front": Camera(height=48, width=64)}, hz=30
)


class Uniform:
    """Picture n is all n; fails after `end` pictures."""

    def __init__(self, height, end):
        self.height, self.end, self.number = height, end, 0

    def latest(self):
        self.number += 1
        if self.number > self.end:
            raise RobotError("the cable came off")
        image = np.full((self.height, 64, 3), self.number % 256, np.uint8)
        return {"front": (image, time.monotonic())}

    def close(self):
        pass


@dataclass
class Factory:
    height: int = 48
    end: int = 10**9

    def __call__(self):
        return Uniform(self.height, self.end)


def test_pictures_are_whole_and_go_on():
    cameras = ProcessCameras(Factory(), BODY, hz=1000)
    try:
        assert isinstance(cameras, CameraSource)
        seen = set()
        for _ in range(300):
            image, when = cameras.latest()["front"]
            assert image.min() == image.max()
            assert 0 <= time.monotonic() - when < 5
            seen.add(int(image[0, 0, 0]))
            time.sleep(0.0005)
        assert len(seen) > 5
    finally:
        cameras.close()
        cameras.close()


def test_failures_are_told():
    with pytest.raises(RobotError, match=r"\(24, 64, 3\)"):
        ProcessCameras(Factory(height=24), BODY)
    cameras = ProcessCameras(Factory(end=20), BODY, hz=500)
    try:
        cameras._process.join(10)
        with pytest.raises(RobotError, match="cable came off"):
            cameras.latest()
    finally:
        cameras.close()
