"""The only registry: every choice by group and kind, and the job of every verb.

A new part is one dataclass in its package's `config.py` and one line here.
"""

from dataclasses import dataclass, field

from omegaconf import MISSING

from configs.compare_job import CompareJob
from configs.data_jobs import (
    DataCheckJob,
    DataCompactJob,
    DataEditJob,
    DataInfoJob,
    DataMergeJob,
    DataSplitJob,
    DataStatsJob,
    DataTokenizerJob,
    DataViewJob,
)
from configs.export_job import ExportJob
from configs.serve_job import ServeJob
from envs.config import GymWorldConfig, TabletopConfig, WorldConfig
from policies.backbones.config import AutoBackboneConfig, TinyConfig
from policies.backbones.language_config import LANGUAGE_BACKBONES, ReducedConfig
from policies.checkpoints.config import PublicConfig
from policies.config import LerobotPolicyConfig, PolicyConfig, VlaPolicyConfig
from policies.heads.config import DiffusionConfig, FlowConfig, RegressionConfig, TokensConfig
from policies.heads.config_denoisers import DitConfig, ReadoutConfig, UnetConfig
from policies.heads.config_expert import ExpertConfig, InsulatedConfig
from policies.heads.config_language import ParallelConfig, ParallelDiffusionConfig, WordsConfig
from policies.heads.config_latent import CvaeConfig, VqConfig
from robot_drivers.config import RobotConfig, SimArmConfig
from robot_drivers.config_arms import (
    FrankaConfig,
    Ros2Config,
    TrossenConfig,
    UrConfig,
    XArmConfig,
)
from robot_drivers.config_lerobot import KochConfig, LerobotArmConfig, So100Config, So101Config
from robot_drivers.config_teleop import KeyboardConfig, LeaderConfig, TeleopConfig
from vla.data.config import AugmentConfig, DataConfig, MixtureConfig, StoreConfig
from vla.data.convert.config import (
    BridgeConfig,
    LerobotConfig,
    OpenXConfig,
    SourceConfig,
)
from vla.data.convert.config_arrays import (
    AlohaConfig,
    LiberoConfig,
    PushtConfig,
    RobomimicConfig,
    UmiConfig,
)
from vla.errors import ConfigError, choose
from vla.evaluation.config import EvaluationConfig
from vla.runtime.config import ControlConfig
from vla.training.config import TrainingConfig

GROUPS: dict[str, dict[str, type]] = {
    "policy": {"vla": VlaPolicyConfig, "lerobot": LerobotPolicyConfig, "public": PublicConfig},
    "policy/backbone": {
        "tiny": TinyConfig,
        "auto": AutoBackboneConfig,
        **LANGUAGE_BACKBONES,
        "reduced": ReducedConfig,
    },
    "policy/backbone/inner": LANGUAGE_BACKBONES,
    "policy/head": {
        "expert": ExpertConfig,
        "insulated": InsulatedConfig,
        "words": WordsConfig,
        "parallel": ParallelConfig,
        "parallel_diffusion": ParallelDiffusionConfig,
        "regression": RegressionConfig,
        "flow": FlowConfig,
        "diffusion": DiffusionConfig,
        "tokens": TokensConfig,
        "dit": DitConfig,
        "unet": UnetConfig,
        "readout": ReadoutConfig,
        "cvae": CvaeConfig,
        "vq": VqConfig,
    },
    "world": {"tabletop": TabletopConfig, "gym": GymWorldConfig},
    "robot": {
        "sim_arm": SimArmConfig,
        "so101": So101Config,
        "so100": So100Config,
        "koch": KochConfig,
        "lerobot": LerobotArmConfig,
        "ur": UrConfig,
        "xarm": XArmConfig,
        "franka": FrankaConfig,
        "trossen": TrossenConfig,
        "ros2": Ros2Config,
    },
    "teleop": {"none": TeleopConfig, "leader": LeaderConfig, "keyboard": KeyboardConfig},
    "data": {"store": StoreConfig, "mixture": MixtureConfig},
    "source": {
        "bridge": BridgeConfig,
        "openx": OpenXConfig,
        "lerobot": LerobotConfig,
        "robomimic": RobomimicConfig,
        "libero": LiberoConfig,
        "aloha": AlohaConfig,
        "umi": UmiConfig,
        "pusht": PushtConfig,
    },
}


@dataclass(kw_only=True, slots=True)
class RecordJob:
    """Record expert demonstrations in simulation into a trajectory store.

    Attributes:
        world: which world, its tasks, cameras and render quality.
        episodes: successful demonstrations per task.
        seed: of the whole recording; scenes never meet those of an evaluation.
        noise: strength of the disturbance of the executed action, 0 for none; the
            recorded action is the expert's correction.
        workers: processes that simulate.
        output: folder of the new store.
    """

    world: WorldConfig = MISSING
    episodes: int = 100
    seed: int = 0
    noise: float = 1.0
    workers: int = 2
    output: str = MISSING


@dataclass(kw_only=True, slots=True)
class ConvertJob:
    """Convert demonstrations from a public format into a trajectory store.

    Attributes:
        source: the format and where the files lie.
        codec: of the images: "jpeg" (JPEG sources keep their bytes) or "zstd" (lossless).
        skip_bad: leave out episodes that are damaged or out of contract, and list them,
            instead of stopping at the first.
        output: folder of the new store.
    """

    source: SourceConfig = MISSING
    codec: str = "jpeg"
    skip_bad: bool = False
    output: str = MISSING


@dataclass(kw_only=True, slots=True)
class TrainJob:
    """Train a policy on a store; writes checkpoints, curves, held-out errors and a report.

    Attributes:
        policy: what is trained.
        data: one store, or a mixture of several, and how it is read.
        augment: what is done to the pictures while training.
        training: the loop.
        device: "auto" (CUDA when there is one), "cpu", "cuda", "cuda:1", ...
        output: folder of the run.
        resume: go on from the newest checkpoint in `output`, if there is one.
    """

    policy: PolicyConfig = MISSING
    data: DataConfig = MISSING
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    device: str = "auto"
    output: str = MISSING
    resume: bool = False


@dataclass(kw_only=True, slots=True)
class EvalJob:
    """Evaluate a checkpoint over tasks and seeds, with intervals, videos and a report.

    Attributes:
        checkpoint: a run's folder (its best checkpoint is taken), one checkpoint, or the
            address of a `vla serve` ("ws://HOST:PORT").
        world: where it is tried; world.tasks names the tasks.
        control: how plans become commands.
        evaluation: seeds, episodes, conditions.
        device: as for training.
        output: folder of the results; an interrupted evaluation goes on there.
    """

    checkpoint: str = MISSING
    world: WorldConfig = MISSING
    control: ControlConfig = field(default_factory=ControlConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    device: str = "auto"
    output: str = MISSING


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
        control: how plans become commands.
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


@dataclass(kw_only=True, slots=True)
class ReportJob:
    """Gather what finished runs wrote into one HTML page.

    Attributes:
        runs: a folder; training, evaluation and live results below it are found.
        title: heading of the page.
        output: the page; "" puts report.html into `runs`.
    """

    runs: str = MISSING
    title: str = "VLA report"
    output: str = ""


@dataclass(kw_only=True, slots=True)
class ListJob:
    """Show every group of the configuration and what can be chosen in it.

    Attributes:
        group: show the keys of one group's choices, e.g. "policy/head".
    """

    group: str = ""


@dataclass(kw_only=True, slots=True)
class DoctorJob:
    """Check this machine: GL, GPU, cores, permissions; each finding with its remedy."""


@dataclass(kw_only=True, slots=True)
class DemoJob:
    """The whole loop in one go: record, train, evaluate, run live, report.

    Attributes:
        record, train, eval, run, report: overrides handed to each stage's verb.
        output: folder of everything.
    """

    record: list[str] = field(default_factory=list)
    train: list[str] = field(default_factory=list)
    eval: list[str] = field(default_factory=list)
    run: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    output: str = "runs/demo"


JOBS: dict[str, type] = {
    "record": RecordJob,
    "convert": ConvertJob,
    "export": ExportJob,
    "data info": DataInfoJob,
    "data check": DataCheckJob,
    "data view": DataViewJob,
    "data stats": DataStatsJob,
    "data tokenizer": DataTokenizerJob,
    "data compact": DataCompactJob,
    "data split": DataSplitJob,
    "data merge": DataMergeJob,
    "data edit": DataEditJob,
    "train": TrainJob,
    "eval": EvalJob,
    "compare": CompareJob,
    "run": RunJob,
    "serve": ServeJob,
    "report": ReportJob,
    "list": ListJob,
    "doctor": DoctorJob,
    "demo": DemoJob,
}
