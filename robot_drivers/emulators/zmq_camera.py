"""A network camera: pictures of the emulated arm, or a test pattern, for LeRobot's ZMQCamera.

Each message is the JSON of LeRobot's image server: a base64 JPEG and a time by camera name,
published over ZeroMQ. LeRobot encodes RGB arrays as if they were BGR and decodes them the
same way; so does this. Start it by hand:

    python -m robot_drivers.emulators.zmq_camera --port 5555 --pose /tmp/so101.pose
"""

import argparse
import base64
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from vla.errors import RobotError
from vla.runtime.child import end_child
from vla.types import Uint8

QUALITY = 90
START_TIMEOUT = 60.0


def test_pattern(height: int, width: int) -> Callable[[int], Uint8]:
    """Pictures (H, W, 3) by frame number: a red left, a blue right half, a white bar that walks."""

    def draw(number: int) -> Uint8:
        picture = np.zeros((height, width, 3), np.uint8)
        picture[:, : width // 2, 0] = 255
        picture[:, width // 2 :, 2] = 255
        start = number * 8 % max(width - 8, 1)
        picture[: height // 4, start : start + 8] = 255
        return picture

    return draw


def arm_view(pose: Path, name: str, height: int, width: int) -> Callable[[int], Uint8]:
    """Pictures of the arm of so101.xml in the pose that a servo emulator publishes.

    Args:
        pose: the emulator's <port>.pose file, six float64 in rad.
        name: "front" or "wrist".
        height: pixels.
        width: pixels.
    """
    os.environ.setdefault("MUJOCO_GL", "egl")
    import mujoco

    from robot_drivers.emulators.servo_plant import load_arm

    model = load_arm()
    data = mujoco.MjData(model)
    renderer = mujoco.Renderer(model, height, width)
    joints = np.memmap(pose, np.float64, mode="r", shape=(model.njnt,))

    def draw(number: int) -> Uint8:
        data.qpos[:] = joints
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        renderer.update_scene(data, camera=name)
        return renderer.render()

    return draw


def publish(
    draw: Callable[[int], Uint8], *, port: int, name: str, fps: float, alive: Callable[[], bool]
) -> None:
    """Send pictures until `alive` says no.

    Args:
        draw: picture of a frame number.
        port: on the loopback interface.
        name: of the camera.
        fps: pictures per second.
        alive: asked before each picture; it may wait.
    """
    import cv2
    import zmq

    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(f"tcp://127.0.0.1:{port}")
        number, due = 0, time.monotonic()
        while alive():
            _, jpeg = cv2.imencode(".jpg", draw(number), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            image = base64.b64encode(jpeg).decode()
            message = {"timestamps": {name: time.time()}, "images": {name: image}}
            socket.send_string(json.dumps(message))
            number += 1
            due = max(due + 1 / fps, time.monotonic() - 1 / fps)
            time.sleep(max(0.0, due - time.monotonic()))


class _Orders:
    """What the parent wants: pictures, a frozen camera, or an end."""

    def __init__(self, pipe: Connection):
        self._pipe, self._frozen = pipe, False

    def __call__(self) -> bool:
        try:
            while self._frozen or self._pipe.poll(0):
                self._frozen = self._pipe.recv()
        except EOFError:
            return False
        return True


def serve(pipe: Connection, port: int, name: str, size: tuple[int, int], fps: float, pose: str):
    """Target of the process: until the pipe closes."""
    draw = arm_view(Path(pose), name, *size) if pose else test_pattern(*size)
    pipe.send(None)
    publish(draw, port=port, name=name, fps=fps, alive=_Orders(pipe))


class ZmqCameraEmulator:
    """The camera in a process of its own, as a context manager."""

    def __init__(
        self,
        port: int,
        *,
        name: str = "front",
        size: tuple[int, int] = (240, 320),
        fps: float = 30.0,
        pose: str = "",
    ):
        """Start it and wait until it has its picture.

        Args:
            port: free, on the loopback interface.
            name: of the camera.
            size: height and width, pixels.
            fps: pictures per second.
            pose: a servo emulator's pose file; "" for the test pattern.

        Raises:
            RobotError: when it does not start.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, port, name, size, fps, pose), name="camera", daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            if not self._pipe.poll(START_TIMEOUT):
                raise RobotError(f"The camera emulator did not start in {START_TIMEOUT:.0f} s.")
            self._pipe.recv()
        except EOFError as error:
            self._process.join(2.0)
            code = self._process.exitcode
            raise RobotError(f"The camera emulator died (exit code {code}).") from error

    def __enter__(self) -> "ZmqCameraEmulator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def freeze(self, frozen: bool = True) -> None:
        """Send no more pictures, or go on."""
        self._pipe.send(frozen)

    def close(self) -> None:
        """End the process; idempotent."""
        end_child(self._pipe, self._process, patience=2.0)


def main() -> None:
    """Run until interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=5555)
    parser.add_argument("--name", default="front", help="front or wrist")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("H", "W"))
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--pose", type=Path, help="pose file of a servo emulator (its --port.pose)")
    options = parser.parse_args()
    if options.pose:
        draw = arm_view(options.pose, options.name, *options.size)
    else:
        draw = test_pattern(*options.size)
    with suppress(KeyboardInterrupt):
        publish(draw, port=options.port, name=options.name, fps=options.fps, alive=lambda: True)


if __name__ == "__main__":
    main()
