"""The job of `vla bench inference`."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from policies.quantize.config import COMPILE_MODES, RECIPES
from vla.errors import ConfigError, choose

STORED = ("float32", "bfloat16")
FORMATS = (*STORED, *(kind for kind in RECIPES if kind not in ("none", *STORED)))
MODES = ("eager", *(mode for mode in COMPILE_MODES if mode))


@dataclass(kw_only=True, slots=True)
class BenchInferenceJob:
    """How long a plan takes: by phase, batch, format and mode, against what the device could do.

    A plan is `Policy.act`, from camera pictures in the host's memory to bounded actions there:
    stacking, words, upload, resizing and normalisation included. Each variant's actions are
    compared with those of float32, eager, on the same inputs and noise. `inference=h200` is the
    four classes of published systems on a GPU, LeRobot's own beside them.

    Attributes:
        policies: presets of the group "policy", with random weights; they must not need files.
        checkpoints: folders to measure instead of, or beside, presets.
        overrides: by preset, words that change it, e.g. {pi0: ['policy.horizon=30']}.
        dtypes: "float32", "bfloat16", or a kind of recipe: int8, int8_weights, int4_weights,
            float8, whose scales come from the weights alone.
        modes: "eager", or a mode of torch.compile: "default", "reduce-overhead",
            "max-autotune"; the last two record CUDA graphs.
        batches: observations per plan.
        cameras: how many cameras a preset's body has; others: `views`.
        views: cameras of presets that `cameras` does not name.
        image: height and width of a camera's picture.
        axes: of state and actions.
        instruction: what all are told.
        warmup, calls: plans before counting, and counted.
        seconds: after which a variant's count ends early, but not before 3 plans.
        targets: milliseconds (99th percentile, batch 1) by preset, judged on `target_device`.
        target_device: part of the device's name that the targets are meant for.
        peers: measure LeRobot's own pi0 and SmolVLA with the same weights, too.
        threads: of a CPU's plan; 0 leaves them as they are.
        device: as for training.
        output: folder of inference.json, .md and .html.
    """

    policies: list[str] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    overrides: dict[str, list[str]] = field(default_factory=dict)
    dtypes: list[str] = field(default_factory=lambda: ["float32", "bfloat16"])
    modes: list[str] = field(default_factory=lambda: ["eager"])
    batches: list[int] = field(default_factory=lambda: [1])
    cameras: dict[str, int] = field(default_factory=dict)
    views: int = 2
    image: list[int] = field(default_factory=lambda: [224, 224])
    axes: int = 7
    instruction: str = "put the red cube on the blue plate"
    warmup: int = 5
    calls: int = 50
    seconds: float = 60.0
    targets: dict[str, float] = field(default_factory=dict)
    target_device: str = "H200"
    peers: bool = False
    threads: int = 0
    device: str = "auto"
    output: str = MISSING

    def __post_init__(self) -> None:
        for what, values, known in (("dtype", self.dtypes, FORMATS), ("mode", self.modes, MODES)):
            for value in values:
                choose(what, value, dict.fromkeys(known))
        if not (self.policies or self.checkpoints):
            raise ConfigError("Give policies=[...] (presets, see `vla list`) or checkpoints=[...].")
        counts = (self.views, self.axes, self.calls, *self.batches, *self.image)
        lists = (self.dtypes, self.modes, self.batches)
        if min(counts) < 1 or self.warmup < 1 or len(self.image) != 2 or not all(lists):
            raise ConfigError(
                "bench inference: batches, views, axes, warmup, calls and image=[HEIGHT,WIDTH] "
                "are 1 or more; dtypes, modes and batches have an entry."
            )
