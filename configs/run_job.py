"""The job of `vla run`."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from envs.config import WorldConfig
from robot_drivers.config import RobotConfig
from robot_drivers.config_teleop import TeleopConfig
from vla.errors import ConfigError, choose
from vla.runtime.config import ControlConfig
from vla.runtime.faults import FaultConfig


@dataclass(kw_only=True, slots=True)
class RunJob:
    """Drive a robot with a checkpoint, or by hand, in real time, through the safety gate.

    Attributes:
        checkpoint: a run's folder, one checkpoint, or the address of a `vla serve`; none is
            needed when a person drives.
        robot: the arm.
        teleop: a person's device instead of a checkpoint.
        world: what a simulated arm stands in; real arms ignore it.
        task: task of the simulated arm's scene, which also says what to do.
        instruction: what to do; "" asks the simulated scene.
        control: how plans become commands; "async" plans in a process of its own.
        faults: what goes wrong on purpose (control=async).
        episodes: how many, one after the other.
        seconds: longest an episode may take.
        until: "done" ends an episode when the scene says so, "time" when `seconds` are over.
        seed: of the first episode's scene and plans; the others count on.
        device: as for training.
        record: folder of a trajectory store that the episodes are added to, made when it does
            not exist; "" keeps no pictures.
        output: folder of the flight logs and the summary.
    """

    checkpoint: str = ""
    robot: RobotConfig = MISSING
    teleop: TeleopConfig = field(default_factory=TeleopConfig)
    world: WorldConfig = MISSING
    task: str = "lift"
    instruction: str = ""
    control: ControlConfig = field(default_factory=ControlConfig)
    faults: FaultConfig = field(default_factory=FaultConfig)
    episodes: int = 1
    seconds: float = 30.0
    until: str = "done"
    seed: int = 2_000_000
    device: str = "auto"
    record: str = ""
    output: str = MISSING

    def __post_init__(self) -> None:
        choose("end of a run:", self.until, dict.fromkeys(("done", "time")))
        if (self.teleop.kind == "none") == (self.checkpoint in ("", MISSING)):
            raise ConfigError("Give checkpoint=..., or teleop=leader or teleop=keyboard.")
        if self.teleop.kind != "none" and self.control.kind != "sync":
            raise ConfigError("A person's device is read every tick; use control=sync.")
        if self.control.latency.any:
            raise ConfigError("control.latency is for vla eval; on an arm planning takes time.")
        if self.faults.any and self.control.kind == "sync":
            raise ConfigError("faults happen in the planning process; use control=async.")
