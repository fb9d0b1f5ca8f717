"""The jobs of most verbs: what each needs to know, with its defaults."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from envs.config import WorldConfig
from policies.config import PolicyConfig
from robot_drivers.config import RobotConfig
from vla.data.config import AugmentConfig, DataConfig
from vla.data.convert.config import SourceConfig
from vla.evaluation.config import EvaluationConfig
from vla.runtime.config import ControlConfig
from vla.training.config import TrainingConfig


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
    """Check this machine: GL, GPU, cores, permissions, devices; each finding with its remedy.

    Attributes:
        checkpoint: whether it speaks to `robot` is checked as well; "": none.
        robot: an arm to look at (port, controller, calibration, cameras); it is not moved. The
            simulated one has the body of `world`.
        world: see `robot`.
    """

    checkpoint: str = ""
    robot: RobotConfig = MISSING
    world: WorldConfig = MISSING


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
