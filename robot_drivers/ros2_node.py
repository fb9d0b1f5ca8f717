"""The ROS 2 side of `ros2_bridge`: run it with the system's Python on the arm's machine.

    python3 ros2_node.py --topic /scaled_joint_trajectory_controller/joint_trajectory

It needs rclpy, sensor_msgs and trajectory_msgs and nothing of this package, so the file may
be copied alone. IT HAS NOT BEEN RUN WITH ROS HERE, where there is none: `BridgeCore`, which
holds the protocol and the watchdog, is tested; the node around it is not. Without a
command for `WATCHDOG` seconds, or when the client goes, the arm is told to hold.
"""

import argparse
import json
import math
import socket
import time

WATCHDOG = 0.25
STEP = 0.02
PERIOD = 0.01
LINE = 65536


class BridgeCore:
    """One client, lines of JSON, and what the arm shall do; knows nothing of ROS."""

    def __init__(self, host, port, clock=time.monotonic):
        """Listen; one client at a time."""
        self._server = socket.create_server((host, port))
        self._server.setblocking(False)
        self.port = self._server.getsockname()[1]
        self._clock, self._client, self._pending = clock, None, b""
        self._state, self._heard, self._moving = None, 0.0, False

    def tell(self, stamp, names, position):
        """Hand the newest joint state to the client."""
        self._state = {"stamp": stamp, "names": list(names), "position": list(position)}
        self._send(self._state)

    def fail(self, words):
        """Tell the client that the arm has stopped."""
        self._send({"error": words})

    def poll(self):
        """The command to publish now: (names, positions), or None."""
        self._accept()
        for message in self._messages():
            if message.get("hold"):
                return self._hold()
            position = message.get("position", [])
            names = message.get("names", [])
            numbers = all(isinstance(v, (int, float)) and math.isfinite(v) for v in position)
            if not position or len(names) != len(position) or not numbers:
                self.fail("a command that is not finite numbers for named joints")
                return self._hold()
            self._heard, self._moving = self._clock(), True
            command = (names, position)
            return command
        if self._moving and self._clock() - self._heard > WATCHDOG:
            return self._hold()
        return None

    def close(self):
        """Stop listening."""
        self._drop()
        self._server.close()

    def _hold(self):
        """The measured joints as a command, once."""
        if not self._moving or self._state is None:
            return None
        self._moving = False
        return self._state["names"], self._state["position"]

    def _accept(self):
        try:
            client, _ = self._server.accept()
        except BlockingIOError:
            return
        if self._client is not None:
            client.close()  # two masters move no arm
            return
        client.setblocking(False)
        self._client, self._pending = client, b""

    def _messages(self):
        """The newest whole message, as a list of none or one; older ones are out of date."""
        if self._client is None:
            return []
        try:
            data = self._client.recv(LINE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._drop()
            return [{"hold": True}]
        *lines, self._pending = (self._pending + data).split(b"\n")
        try:
            return [json.loads(lines[-1])] if lines else []
        except ValueError:
            return [{}]

    def _send(self, message):
        if self._client is None:
            return
        try:
            self._client.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._drop()

    def _drop(self):
        if self._client is not None:
            self._client.close()
            self._client = None


def main():
    """Run the node until ROS shuts down."""
    import rclpy
    from builtin_interfaces.msg import Duration
    from sensor_msgs.msg import JointState
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", default="/joint_trajectory_controller/joint_trajectory")
    parser.add_argument("--states", default="/joint_states")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7011)
    options = parser.parse_args()
    rclpy.init()
    node = rclpy.create_node("vla_bridge")
    core = BridgeCore(options.host, options.port)
    publisher = node.create_publisher(JointTrajectory, options.topic, 1)

    def hear(message):
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        core.tell(stamp, message.name, message.position)

    def act():
        command = core.poll()
        if command is not None:
            point = JointTrajectoryPoint(positions=[float(v) for v in command[1]])
            point.time_from_start = Duration(sec=0, nanosec=int(STEP * 1e9))
            publisher.publish(JointTrajectory(joint_names=list(command[0]), points=[point]))

    node.create_subscription(JointState, options.states, hear, 1)
    node.create_timer(PERIOD, act)
    try:
        rclpy.spin(node)
    finally:
        core.close()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
