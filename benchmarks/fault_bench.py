"""Flights of the fault matrix: the whole loop on one arm, and what is needed to judge a flight."""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.fault_arm import WiredArm
from benchmarks.fault_plans import FaultyCamera, WaveOf, with_camera
from configs.restoring import load_policy
from robot_drivers.camera_process import ProcessCameras
from robot_drivers.cameras import NoCameras
from robot_drivers.causes import CAUSES, Cause
from robot_drivers.config import GateConfig
from robot_drivers.gate import SafetyGate
from robot_drivers.link import BridgedRobot
from robot_drivers.replay import motion_limits
from robot_drivers.robot_world import RobotWorld
from robot_drivers.stops import StopFile
from vla.embodiment import Embodiment
from vla.errors import VlaError
from vla.runtime import record
from vla.runtime.config import AsyncControlConfig
from vla.runtime.faults import FaultConfig
from vla.runtime.live import run_live
from vla.runtime.record import Flight, FlightLog, read_flight

AT = 1.0
"""Seconds after the first tick at which the loop's own faults begin."""


@dataclass(kw_only=True)
class Flown:
    """A flight and what is needed to judge it.

    Attributes:
        at: seconds after the first tick at which something was done to it.
        error: name of the error that it ended with.
        told: what the loop told of a flight without one (`vla.runtime.live.run_live`).
        refused: plans refused, by reason.
        times, commands: what the driver was told, and when.
    """

    path: Path
    body: Embodiment
    gate: GateConfig
    judge: SafetyGate
    control: AsyncControlConfig
    begin: float = 0.0
    at: float = 0.0
    error: str = ""
    told: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)
    torque: bool = True
    times: list = field(default_factory=list)
    commands: list = field(default_factory=list)
    flight: Flight | None = None

    @property
    def reason(self) -> str:
        """Why it ended without an error."""
        return self.told.get("reason", "")


@dataclass(kw_only=True)
class Bench:
    """One arm, flown again and again.

    Attributes:
        arm: see `fault_arm`.
        loose: times are noted, not asserted: on a machine that has other work to do.
        soak: seconds of the longest flight.
        overran: what would have failed had it not been for `loose`.
    """

    arm: WiredArm
    loose: bool = False
    soak: float = 60.0
    overran: list[str] = field(default_factory=list)

    @property
    def hz(self) -> float:
        """Of the commands."""
        return self.arm.embodiment.hz

    def within(self, what: str, seconds: float | None, bound: float) -> float:
        """`seconds` in ms, once they are known to be within `bound` seconds."""
        assert seconds is not None, f"{what}: it never came"
        if seconds > bound:
            said = f"{what}: {seconds * 1e3:.1f} ms, allowed {bound * 1e3:.1f} ms"
            assert self.loose, said
            self.overran.append(said)
        return round(seconds * 1e3, 1)

    def fly(
        self,
        seconds: float,
        *,
        faults: FaultConfig | None = None,
        at: Callable[[WiredArm, SafetyGate, object], None] | None = None,
        delay: float = AT,
        gate: GateConfig | None = None,
        stop_file: str = "",
        prepare: Callable[[WiredArm], None] | None = None,
        camera: FaultyCamera | None = None,
        wave: dict | None = None,
        url: str = "",
        growth: int = 4096,
        control: AsyncControlConfig | None = None,
    ) -> Flown:
        """One flight.

        Args:
            seconds: how long.
            faults: of the planning process.
            at: called once with arm, gate and controller, `delay` seconds after the begin.
            gate: other limits than the arm's.
            stop_file: see `RobotConfig`.
            prepare: called with the arm before it is connected.
            camera: one that breaks.
            wave: options of `WaveOf`.
            url: of a policy server to ask instead.
            growth: ticks by which the log grows.
            control: options of the loop.
        """
        arm = self.arm
        arm.renew()
        if prepare is not None:
            prepare(arm)
        body = with_camera(arm.embodiment) if camera else arm.embodiment
        limits = gate or arm.config.gate
        judge, control = limits.build(body), control or AsyncControlConfig(hang=1.0)
        plans = WaveOf(body, **(wave or {}))
        if url:
            plans = partial(load_policy, url, device="cpu", embodiment=body)
        factory = (faults or FaultConfig()).wrap(plans)
        controller = control.open(factory, body, limits=motion_limits(judge))
        path = Path(tempfile.mkdtemp(prefix="fault-")) / "flight.vlalog"
        said, flown = "", Flown(path=path, body=body, gate=limits, judge=judge, control=control)
        record.GROWTH, usual = growth, record.GROWTH
        log = FlightLog(path, embodiment=body, causes=CAUSES)
        world = RobotWorld(
            BridgedRobot(arm, losses=arm.config.losses),
            ProcessCameras(camera, body) if camera else NoCameras(),
            gate=judge,
            log=log,
            pilot=controller,
            stops=[StopFile(stop_file)] if stop_file else [],
            embodiment=body,
        )

        def watch(tick):
            flown.begin = flown.begin or time.monotonic()
            if at is not None and not flown.at and tick.index >= delay * body.hz:
                flown.at = time.monotonic() - flown.begin
                at(arm, judge, controller)

        try:
            flown.told = run_live(
                world, controller, seed=0, log=log, seconds=seconds, progress=watch,
                brake=lambda: judge.latch(Cause.STOP), priority=control.priority,
            )  # fmt: skip
        except VlaError as error:
            flown.error, said = type(error).__name__, f"  {type(error).__name__}: {error}\n"
        finally:
            record.GROWTH = usual
            flown.refused = controller.refused
            controller.close()
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            flown.torque, flown.times, flown.commands = arm.torque, arm.times, arm.commands
        sys.stderr.write(said)  # not before the disk of a row that fills it has room again
        flown.flight = read_flight(path)
        return flown
