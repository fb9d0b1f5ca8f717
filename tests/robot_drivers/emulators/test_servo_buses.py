"""The emulated buses byte by byte: framing, registers, faults; no process, no serial port."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_drivers.emulators import dynamixel, dynamixel_servo, feetech
from robot_drivers.emulators.faults import Faults
from robot_drivers.emulators.servo_plant import ServoPlant
from vla.errors import ConfigError

BAUD = 1_000_000


def sts(number, instruction, *parameters):
    body = bytes([number, len(parameters) + 2, instruction, *parameters])
    return b"\xff\xff" + body + bytes([feetech.checksum(body)])


def dxl(number, instruction, *parameters):
    return dynamixel.pack(number, bytes([instruction, *parameters]))


@pytest.fixture
def bus():
    return feetech.FeetechBus(ServoPlant())


@pytest.fixture
def xbus():
    return dynamixel.DynamixelBus(ServoPlant())


def replies(bus, data, baud=BAUD):
    return [packet for packet, _ in bus.receive(data, baud=baud)]


def run(bus, seconds):
    start = bus.plant._time or 0.0
    bus.advance(start)
    for step in range(1, int(seconds / 0.5) + 1):  # longer gaps count as a pause of the host
        bus.advance(start + step * 0.5)


@given(st.binary(max_size=40), st.integers(1, 6))
@settings(max_examples=60)
def test_feetech_resynchronises_after_noise(noise, number):
    bus = feetech.FeetechBus.__new__(feetech.FeetechBus)
    bus._pending, bus.servos, bus.faults = b"", [], Faults()
    packet = sts(number, feetech.PING)
    bus._pending = noise + b"\x00" * 260 + packet  # enough for a length announced by the noise
    found = []
    while (one := bus._next_packet()) is not None:
        found.append(one)
    assert found[-1:] == [(number, feetech.PING, b"")]


def test_feetech_identity_baud_and_broadcast(bus):
    assert replies(bus, sts(1, feetech.READ, 3, 2)) == [b"\xff\xff\x01\x04\x00\x09\x03\xee"]
    assert replies(bus, sts(1, feetech.PING), baud=500_000) == []
    assert len(replies(bus, sts(feetech.BROADCAST, feetech.PING))) == 6
    assert replies(bus, sts(7, feetech.PING)) == []
    broken = bytearray(sts(1, feetech.PING))
    broken[-1] ^= 1
    assert replies(bus, bytes(broken)) == []
    bus.faults = Faults(dead=(2,))
    assert [r[2] for r in replies(bus, sts(0xFE, feetech.SYNC_READ, 56, 2, 3, 2, 1))] == [3, 1]
    (slow,) = bus.receive(sts(1, feetech.PING), baud=BAUD)
    assert slow[1] == pytest.approx(502e-6)  # return delay as delivered


def test_feetech_torque_latches_and_goals_switch_it_on(bus):
    bus.plant.place(np.array([0.3, 0, 0, 0, 0, 0]))
    replies(bus, sts(1, feetech.WRITE, 40, 1))
    assert bus.servos[0].word(42) == 2048 + round(0.3 * 4096 / (2 * np.pi))
    run(bus, 1.0)
    assert bus.plant.position[0] == pytest.approx(0.3, abs=0.01)
    assert not bus.plant.torque[4]
    assert replies(bus, sts(0xFE, feetech.SYNC_WRITE, 42, 2, 5, 0x00, 0x09)) == []
    assert bus.plant.torque[4]
    run(bus, 1.0)
    goal = (0x900 - 2048) * 2 * np.pi / 4096
    assert bus.plant.position[4] == pytest.approx(goal, abs=0.01)


def test_feetech_eeprom_needs_its_lock_open(bus):
    replies(bus, sts(1, feetech.WRITE, 9, 0xE8, 0x03))
    bus.power_cycle()
    assert bus.servos[0].word(9) == 0
    replies(bus, sts(1, feetech.WRITE, 55, 0))
    replies(bus, sts(1, feetech.WRITE, 9, 0xE8, 0x03))
    bus.power_cycle()
    assert bus.servos[0].word(9) == 1000
    assert bus.servos[0].memory[55] == 1


def test_feetech_middle_id_and_read_only(bus):
    bus.plant.place(np.array([0.5, 0, 0, 0, 0, 0]))
    replies(bus, sts(1, feetech.WRITE, 40, 128))
    assert int.from_bytes(bus.servos[0].read(56, 2), "little") == 2048
    replies(bus, sts(1, feetech.WRITE, 5, 9))
    assert replies(bus, sts(1, feetech.PING)) == []
    assert replies(bus, sts(9, feetech.PING))
    replies(bus, sts(9, feetech.WRITE, 56, 1, 1))
    assert int.from_bytes(bus.servos[0].read(56, 2), "little") == 2048
    replies(bus, sts(9, feetech.REG_WRITE, 40, 1))
    assert not bus.plant.torque[0]
    replies(bus, sts(feetech.BROADCAST, feetech.ACTION))
    assert bus.plant.torque[0]


def test_a_pinned_joint_pushes_but_stays(bus):
    bus.plant.pinned[0] = True
    replies(bus, sts(1, feetech.WRITE, 42, 0x00, 0x0A))
    run(bus, 1.0)
    assert abs(bus.plant.position[0]) < 1e-3
    load = int.from_bytes(bus.servos[0].read(60, 2), "little")
    assert load & 0x3FF > 900 or load == 1000


def test_limp_arms_fall_and_held_ones_do_not(bus):
    run(bus, 1.0)
    assert np.abs(bus.plant.position).max() == 0  # nobody has let go yet
    replies(bus, sts(feetech.BROADCAST, feetech.WRITE, 40, 1))
    run(bus, 1.0)
    assert np.abs(bus.plant.position).max() < 0.05
    replies(bus, sts(feetech.BROADCAST, feetech.WRITE, 40, 0))
    run(bus, 2.0)
    assert np.abs(bus.plant.position).max() > 0.5


@given(st.binary(max_size=60))
def test_stuffing_and_packing_round_trip(body):
    assert dynamixel.unstuff(dynamixel.stuff(body)) == body
    assert b"\xff\xff\xfd\x00" not in dynamixel.stuff(body)


@given(st.binary(min_size=1, max_size=30), st.integers(0, 29), st.integers(1, 255))
def test_crc_notices_every_altered_byte(body, place, change):
    altered = bytearray(body)
    altered[place % len(body)] ^= change
    assert dynamixel.crc16(body) != dynamixel.crc16(bytes(altered))


def test_dynamixel_agrees_with_the_vendors_sdk():
    sdk = pytest.importorskip("dynamixel_sdk", reason="needs vla-stack[dynamixel]")
    handler = sdk.PacketHandler(2.0)
    data = bytes(range(40)) + b"\xff\xff\xfd"
    assert handler.updateCRC(0, list(data), len(data)) == dynamixel.crc16(data)


def test_dynamixel_reads_writes_and_errors(xbus):
    (ping,) = replies(xbus, dxl(3, dynamixel.PING))
    assert ping[7:12] == bytes([0x55, 0]) + (1200).to_bytes(2, "little") + bytes([50])
    assert len(replies(xbus, dxl(dynamixel.BROADCAST, dynamixel.PING))) == 6
    (done,) = replies(xbus, dxl(1, dynamixel.WRITE, 64, 0, 1))
    assert done[8] == 0
    assert xbus.plant.torque[0]
    (refused,) = replies(xbus, dxl(1, dynamixel.WRITE, 11, 0, 4))  # EEPROM under torque
    assert refused[8] == dynamixel_servo.ACCESS_ERROR
    (refused,) = replies(xbus, dxl(1, dynamixel.WRITE, 132, 0, 0, 0, 0, 0))
    assert refused[8] == dynamixel_servo.ACCESS_ERROR
    far = (9000).to_bytes(4, "little")
    (refused,) = replies(xbus, dxl(1, dynamixel.WRITE, 116, 0, *far))  # one turn only in mode 3
    assert refused[8] == dynamixel_servo.LIMIT_ERROR


def test_dynamixel_fast_sync_read_is_one_chained_packet(xbus):
    xbus.plant.place(np.array([0.3, -0.2, 0, 0, 0, 0]))
    (packet,) = replies(
        xbus, dxl(dynamixel.BROADCAST, dynamixel.FAST_SYNC_READ, 132, 0, 4, 0, 1, 2)
    )
    assert packet[4] == dynamixel.BROADCAST
    assert int.from_bytes(packet[5:7], "little") == len(packet) - 7
    assert dynamixel.crc16(packet[:-2]) == int.from_bytes(packet[-2:], "little")
    first = int.from_bytes(packet[10:14], "little", signed=True)
    assert first == 2048 + round(0.3 * 4096 / (2 * np.pi))
    xbus.faults = Faults(dead=(2,))
    assert not replies(xbus, dxl(0xFE, dynamixel.FAST_SYNC_READ, 132, 0, 4, 0, 1, 2))


def test_dynamixel_watchdog_stops_a_motion(xbus):
    xbus.advance(0.0)
    for address, value in ((112, 30), (98, 5)):  # slow; 100 ms of silence
        replies(xbus, dxl(1, dynamixel.WRITE, address, 0, value))
    replies(xbus, dxl(1, dynamixel.WRITE, 64, 0, 1))
    goal = (3000).to_bytes(4, "little")
    replies(xbus, dxl(1, dynamixel.WRITE, 116, 0, *goal))
    for step in range(1, 150):
        xbus.advance(step * 0.02)
    far = (3000 - 2048) * 2 * np.pi / 4096
    assert 0.02 < xbus.plant.position[0] < far / 2
    assert xbus.servos[0].memory[98] == dynamixel_servo.EXPIRED
    (refused,) = replies(xbus, dxl(1, dynamixel.WRITE, 116, 0, *goal))
    assert refused[8] == dynamixel_servo.RANGE_ERROR
    replies(xbus, dxl(1, dynamixel.WRITE, 98, 0, 0))
    (done,) = replies(xbus, dxl(1, dynamixel.WRITE, 116, 0, *goal))
    assert done[8] == 0


def test_faults_are_checked():
    with pytest.raises(ConfigError, match="probability"):
        Faults(drop=1.5)
    with pytest.raises(ConfigError, match="delay"):
        Faults(delay=-1)
