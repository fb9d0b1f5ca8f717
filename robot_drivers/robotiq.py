"""A Robotiq gripper over its URCap's text protocol (SET/GET of ACT, GTO, SPE, FOR, POS)."""

import socket

from vla.errors import RobotError

PORT = 63352
TIMEOUT = 0.2
CHANGE = 0.01
"""Openings that differ by less are not sent again."""


class RobotiqGripper:
    """Opening 0 closed to 1 open; POS is 255 closed to 0 open."""

    def __init__(self, host: str):
        """Nothing is opened; `host` is the UR controller's address."""
        self._host = host
        self._socket: socket.socket | None = None
        self._sent = -1.0

    def open(self) -> None:
        """Connect; an inactive gripper is refused, because activating moves the fingers."""
        try:
            self._socket = socket.create_connection((self._host, PORT), timeout=TIMEOUT)
        except OSError as error:
            raise RobotError(
                f"No Robotiq gripper at {self._host}:{PORT}: {error}. Is its URCap installed? "
                "Else robot.gripper=false."
            ) from error
        if self._get("STA") != 3:
            raise RobotError("The Robotiq gripper is not activated; do it on the pendant.")
        self._ask("SET GTO 1 SPE 255 FOR 100")

    def move(self, opening: float) -> None:
        """Head for `opening`, 0 to 1; nothing is sent when it hardly changed."""
        if abs(opening - self._sent) >= CHANGE:
            self._ask(f"SET POS {round((1.0 - opening) * 255)} GTO 1")
            self._sent = opening

    def opening(self) -> float:
        """0 closed to 1 open, measured."""
        return 1.0 - self._get("POS") / 255

    def close(self) -> None:
        """Disconnect; the gripper keeps its grip."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _get(self, name: str) -> int:
        answer = self._ask(f"GET {name}").split()
        if len(answer) != 2 or answer[0] != name or not answer[1].isdigit():
            raise RobotError(f"The Robotiq gripper answered {answer} to GET {name}.")
        return int(answer[1])

    def _ask(self, line: str) -> str:
        try:
            self._socket.sendall(line.encode() + b"\n")
            return self._socket.recv(1024).decode().strip()
        except OSError as error:
            raise RobotError(f"The Robotiq gripper at {self._host} is gone: {error}") from error
