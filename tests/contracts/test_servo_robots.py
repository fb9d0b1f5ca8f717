"""The conformance checks on LeRobot's SO-101 and Koch drivers, against emulated servo buses."""

import numpy as np
import pytest

from robot_drivers.config_lerobot import KochConfig, So101Config
from robot_drivers.emulators.servo_process import ServoEmulator
from tests.contracts.robot_conformance import CHECKS, PLANTED, failed_checks

pytest.importorskip("scservo_sdk", reason="needs vla-stack[feetech]")
pytest.importorskip("dynamixel_sdk", reason="needs vla-stack[dynamixel]")
pytestmark = pytest.mark.slow  # importing LeRobot alone takes seconds
IO_TIMEOUT = 0.1  # a busy test machine does not schedule the emulator within 3 ms


class ServoBench:
    """Implements `Bench` with an emulated arm."""

    close_to = 0.04
    faults = ("flaky", "silent", "dead", "gone")
    bound = 0.6
    read_within = 3

    def __init__(self, kind, schema, folder):
        self.arm = ServoEmulator(kind, folder)
        self.config = schema(
            port=self.arm.port, id="emulated", calibration_dir=str(folder), io_timeout=IO_TIMEOUT
        )

    def driver(self):
        return self.config.build()

    def truth(self):
        return self.arm.positions()

    def holds(self):
        return all(self.arm.torque())

    def fail(self, fault):
        if fault == "gone":
            self.arm.unplug()
        else:
            known = {"silent": {"mute": True}, "dead": {"dead": (3,)}}
            self.arm.fail(**known.get(fault, {"drop": 0.02, "corrupt": 0.02}))

    def repair(self):
        self.arm.fail()
        self.arm.plug()


@pytest.fixture(scope="module", params=["so101", "koch"])
def bench(request, tmp_path_factory):
    kind, schema = {"so101": ("feetech", So101Config), "koch": ("dynamixel", KochConfig)}[
        request.param
    ]
    bench = ServoBench(kind, schema, tmp_path_factory.mktemp(request.param))
    yield bench
    bench.arm.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_driver(bench, check):
    robot = bench.driver()
    try:
        check(bench, robot)
    finally:
        bench.repair()
        robot.close()
        bench.arm.place(np.zeros(6))


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted_bugs_are_caught(bench, plant):
    if bench.config.kind != "so101":
        pytest.skip("one bus is enough to judge the checks")
    assert failed_checks(bench, plant), f"no check notices {plant.__name__}: {plant.__doc__}"
    bench.arm.place(np.zeros(6))
