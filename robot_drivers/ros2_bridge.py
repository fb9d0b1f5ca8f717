"""An arm behind ROS 2, without ROS here: lines of JSON over TCP to a bridge on its machine.

    Ros2Link ◀── {"stamp", "names", "position"} ── ros2_node.py ◀── /joint_states
    Ros2Link ──── {"names", "position"} ─────────▶ ros2_node.py ──▶ joint trajectory

One JSON object per line, in both directions, UTF-8, ended by a newline; units are rad and
seconds. {"hold": true} asks the bridge to hold, {"error": "words"} tells that the arm has
stopped. There is no authentication: keep the bridge on a private network.
"""

import json
import math
import socket
from typing import Any

import numpy as np

from robot_drivers.servo_link import Float64, Sample, require_finite
from vla.errors import ArmSilent, ArmStopped, RobotError

CONNECT = 2.0
LINE = 65536
"""Longest line taken, bytes."""


class Ros2Link:
    """Implements `ServoLink`."""

    def __init__(self, host: str, *, port: int, joints: tuple[str, ...]):
        """Nothing is opened; `joints` are names in /joint_states, in the order of the axes."""
        self._host, self._port, self._joints = host, port, joints
        self._socket: socket.socket | None = None
        self._pending = b""
        self._sample: Sample | None = None

    def open(self) -> None:
        """Connect, and wait for the first state."""
        try:
            self._socket = socket.create_connection((self._host, self._port), timeout=CONNECT)
            while self._sample is None:
                self._take(self._socket.recv(LINE))
        except OSError as error:
            raise ArmSilent(
                f"No ROS 2 bridge with joint states at {self._host}:{self._port}: {error}. Run "
                "ros2_node.py on the arm's machine; is /joint_states published?"
            ) from error
        self._socket.setblocking(False)

    def sense(self) -> Sample:
        """The newest state that came; does not wait."""
        try:
            while True:
                self._take(self._socket.recv(LINE, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return self._sample
        except OSError as error:
            raise ArmSilent(f"The ROS 2 bridge at {self._host} is gone: {error}") from error

    def servo(self, target: Float64, grip: float | None) -> None:
        """One small step."""
        positions = require_finite(target, "ROS 2 target").tolist()
        self._send({"names": list(self._joints), "position": positions})

    def stop(self) -> None:
        """Ask the bridge to hold the measured joints."""
        if self._socket is not None:
            self._send({"hold": True})

    def close(self) -> None:
        """Disconnect; the bridge holds when its client goes."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def recover(self) -> None:
        """Not through the bridge."""
        raise RobotError("Recover the arm with its own ROS 2 driver, then connect again.")

    def release(self) -> None:
        """Not through the bridge."""
        raise RobotError("Release the arm with its own ROS 2 driver.")

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(message, allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise ArmSilent(f"The ROS 2 bridge at {self._host} takes nothing: {error}") from error

    def _take(self, data: bytes) -> None:
        """Take what came; of several states the last counts."""
        if not data:
            raise ArmSilent(f"The ROS 2 bridge at {self._host} has closed the connection.")
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > LINE:
            raise RobotError(f"The ROS 2 bridge at {self._host} sends an endless line.")
        for line in lines:
            self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            if "error" in message:
                raise ArmStopped(f"The arm behind the ROS 2 bridge: {message['error']}")
            table = dict(zip(message["names"], message["position"], strict=True))
            missing = [name for name in self._joints if name not in table]
            if missing:
                raise RobotError(
                    f"/joint_states lacks {missing}; it has {sorted(table)}. See robot.joints."
                )
            joints = np.array([table[name] for name in self._joints], np.float64)
            stamp = float(message["stamp"])
        except (ValueError, KeyError, TypeError) as error:
            raise RobotError(
                f"The ROS 2 bridge at {self._host} does not speak our protocol: {line[:80]!r}"
            ) from error
        if not math.isfinite(stamp):
            raise RobotError(f"The ROS 2 bridge at {self._host} tells no time.")
        self._sample = Sample(joints=joints, stamp=stamp)
