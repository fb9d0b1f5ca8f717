"""The only registry: every choice by group and kind, and the job of every verb.

A new part is one dataclass in its package's `config.py` and one line here.
"""

from configs.bench_inference_job import BenchInferenceJob
from configs.bench_job import BenchPoliciesJob
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
from configs.jobs import (
    ConvertJob,
    DemoJob,
    DoctorJob,
    EvalJob,
    ListJob,
    RecordJob,
    ReportJob,
    TrainJob,
)
from configs.leaderboard_job import LeaderboardJob
from configs.merge_job import MergeJob
from configs.quantize_job import QuantizeJob
from configs.questions_job import QuestionsExamJob, QuestionsMakeJob
from configs.replay_job import ReplayJob
from configs.reproduce_job import ReproduceJob
from configs.run_job import RunJob
from configs.serve_job import ServeJob
from configs.triage_job import TriageJob
from envs.benchmarks.config import MetaworldConfig
from envs.benchmarks.config_arms import (
    AlohaWorldConfig,
    KitchenConfig,
    LiberoWorldConfig,
    PushtWorldConfig,
)
from envs.config import GymWorldConfig, TabletopConfig
from policies.backbones.config import AutoBackboneConfig, TinyConfig
from policies.backbones.language_config import LANGUAGE_BACKBONES, ReducedConfig
from policies.checkpoints.config import PublicConfig
from policies.config import LerobotPolicyConfig, VlaPolicyConfig
from policies.heads.config import DiffusionConfig, FlowConfig, RegressionConfig, TokensConfig
from policies.heads.config_denoisers import DitConfig, ReadoutConfig, UnetConfig
from policies.heads.config_expert import ExpertConfig, InsulatedConfig
from policies.heads.config_language import ParallelConfig, ParallelDiffusionConfig, WordsConfig
from policies.heads.config_latent import CvaeConfig, VqConfig
from policies.peft.methods import METHODS
from policies.quantize.config import RECIPES
from robot_drivers.config import SimArmConfig
from robot_drivers.config_arms import (
    FrankaConfig,
    Ros2Config,
    TrossenConfig,
    UrConfig,
    XArmConfig,
)
from robot_drivers.config_lerobot import KochConfig, LerobotArmConfig, So100Config, So101Config
from robot_drivers.config_teleop import KeyboardConfig, LeaderConfig, TeleopConfig
from vla.data.config import MixtureConfig, StoreConfig
from vla.data.convert.config import (
    BridgeConfig,
    LerobotConfig,
    OpenXConfig,
)
from vla.data.convert.config_arrays import (
    AlohaConfig,
    LiberoConfig,
    PushtConfig,
    RobomimicConfig,
    UmiConfig,
)
from vla.data.cotraining_config import CotrainingConfig
from vla.runtime.config import AsyncControlConfig, ControlConfig
from vla.runtime.execution_config import EXECUTIONS

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
    "world": {
        "tabletop": TabletopConfig,
        "gym": GymWorldConfig,
        "metaworld": MetaworldConfig,
        "kitchen": KitchenConfig,
        "libero": LiberoWorldConfig,
        "aloha": AlohaWorldConfig,
        "pusht": PushtWorldConfig,
    },
    "recipe": RECIPES,
    "policy/peft": METHODS,
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
    "control": {"sync": ControlConfig, "async": AsyncControlConfig},
    "data": {"store": StoreConfig, "mixture": MixtureConfig, "cotraining": CotrainingConfig},
    "data/robot": {"store": StoreConfig, "mixture": MixtureConfig},
    "control/execution": EXECUTIONS,
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
    "questions make": QuestionsMakeJob,
    "questions exam": QuestionsExamJob,
    "train": TrainJob,
    "eval": EvalJob,
    "compare": CompareJob,
    "bench policies": BenchPoliciesJob,
    "bench inference": BenchInferenceJob,
    "quantize": QuantizeJob,
    "leaderboard": LeaderboardJob,
    "triage": TriageJob,
    "reproduce": ReproduceJob,
    "run": RunJob,
    "replay": ReplayJob,
    "serve": ServeJob,
    "merge": MergeJob,
    "report": ReportJob,
    "list": ListJob,
    "doctor": DoctorJob,
    "demo": DemoJob,
}
