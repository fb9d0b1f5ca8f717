"""The open serial port of a LeRobot servo bus: bounded, patient without spinning, not fooled.

LeRobot's SDKs ask the port again and again until an answer is whole. In a loop with real-time
priority that spinning keeps the kernel's own worker from handing the bytes over (every tty, a
USB adapter's too, has one, at normal priority): on a busy machine answers are lost that have long
arrived. They take whatever answer bears the right servo's number for the one they asked for, too.
"""

import select
import time
from typing import Any


def bound_waiting(bus: Any, timeout: float) -> None:
    """Let no exchange on a bus take longer than the wire needs plus `timeout` seconds.

    Waiting sleeps; answers whose length is not that of the question are left out, so that a
    position that comes late is never read as a servo's alarm.
    """
    port = bus.port_handler

    def start(length: int) -> None:
        port.packet_start_time = port.getCurrentTime()
        port.packet_timeout = port.tx_time_per_byte * (length + 3) + timeout * 1e3

    def read(length: int) -> Any:
        left = port.packet_timeout - (port.getCurrentTime() - port.packet_start_time)
        if left > 0:
            select.select([port.ser], [], [], left / 1e3)
        return port.ser.read(length)

    port.getCurrentTime = lambda: time.monotonic() * 1e3  # the wall clock may jump
    port.setPacketTimeout = start
    port.clearPort = lambda: port.ser.reset_input_buffer()  # a late answer is no new one
    port.readPort = read
    if port.ser is not None:
        port.ser.write_timeout = max(timeout, 0.001)
    _match_lengths(bus.packet_handler)


def _match_lengths(handler: Any) -> None:
    """Let `handler` pass over answers that hold another number of bytes than was asked for."""
    kind, received = type(handler), [0]

    def receive(port: Any, *options: Any) -> tuple[list[int], int]:
        packet, result = kind.rxPacket(handler, port, *options)
        received[0] = count_data(packet)
        return packet, result

    def read(port: Any, number: int, length: int) -> tuple[list[int], int, int]:
        while True:  # ends with the answer, or with the time that `start` gave
            data, result, error = kind.readRx(handler, port, number, length)
            if result != 0 or received[0] == length:
                return data, result, error

    handler.rxPacket, handler.readRx = receive, read


def count_data(packet: list[int]) -> int:
    """Data bytes of a whole status packet: Dynamixel 2.0 (FF FF FD 00 ...) or Feetech (FF FF ...).

    Dynamixel counts instruction, error and CRC, Feetech error and checksum (protocol manuals).
    """
    if packet[2:4] == [0xFD, 0x00]:
        return packet[5] + (packet[6] << 8) - 4
    return packet[3] - 2 if len(packet) > 3 else 0
