"""The conformance checks on the UR and xArm drivers: genuine SDKs, emulated controllers."""

import numpy as np
import pytest

from robot_drivers.config_arms import UrConfig, XArmConfig
from robot_drivers.emulators.arm_process import ArmEmulator
from tests.contracts.robot_conformance import CHECKS, PLANTED, failed_checks

pytest.importorskip("rtde_control", reason="needs vla-stack[ur]")
pytest.importorskip("xarm", reason="needs vla-stack[xarm]")
pytestmark = pytest.mark.slow
SILENCE = 0.4  # a busy test machine may not run the I/O thread for a while
SCHEMAS = {"ur": UrConfig, "xarm": XArmConfig}


class ArmBench:
    """Implements `Bench` with an emulated controller."""

    close_to = 0.01
    faults = ("silent", "gone", "stopped")
    bound = 0.3
    read_within = 40

    def __init__(self, kind):
        self.arm = ArmEmulator(kind)
        slow = {"watchdog_hz": 1.0} if kind == "ur" else {}
        self.config = SCHEMAS[kind](host=self.arm.host, pose=False, silence=SILENCE, **slow)

    def driver(self):
        return self.config.build()

    def truth(self):
        return np.array(self.arm.status()["q"])

    def holds(self):
        return not self.arm.status()["released"]

    def fail(self, fault):
        if fault == "gone":
            self.arm.unplug()
        else:
            known = {"silent": {"freeze": True}, "stopped": {"protective_stop": True}}
            self.arm.fail(**known[fault])

    def repair(self):
        self.arm.fail()
        self.arm.plug()
        self.arm.recover()


@pytest.fixture(scope="module", params=sorted(SCHEMAS))
def bench(request):
    bench = ArmBench(request.param)
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


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted_bugs_are_caught(bench, plant):
    if bench.config.kind != "xarm":
        pytest.skip("one arm is enough to judge the checks")
    assert failed_checks(bench, plant), f"no check notices {plant.__name__}: {plant.__doc__}"
