"""Every choice of a training run, in one flat dataclass."""

from dataclasses import dataclass, field

from vla.errors import ConfigError, UnknownChoice

PRECISIONS = ("float32", "bfloat16", "auto")
TRACKERS = ("jsonl", "wandb")
WANDB_MODES = ("offline", "online", "disabled")


@dataclass(kw_only=True, slots=True)
class TrainingConfig:
    """How long, how fast, how exact and how often to look.

    A "step" is one optimizer update; it reads `accumulate` micro-batches of `batch_size`
    samples. "Every" fields count steps; 0 switches the thing off.

    Attributes:
        steps: updates in all; the learning-rate schedule ends here.
        batch_size: samples per micro-batch and process.
        accumulate: micro-batches whose gradients are averaged into one update.
        learning_rate: peak, reached after `warmup_steps`.
        learning_rate_floor: where the cosine ends, as a fraction of the peak (1: constant).
        backbone_multiplier: factor on the learning rate of the child module "backbone".
        warmup_steps: steps of linear warm-up.
        betas: AdamW's two decay rates of the moments.
        weight_decay: AdamW; never on norms, biases, embeddings and other 1-D parameters.
        clip_norm: bound on the gradient's global 2-norm; 0: no clipping.
        ema_decay: of the weight average that is validated and saved; 0: no averaging.
        precision: "float32", "bfloat16" (autocast; weights stay as they are) or "auto":
            bfloat16 where the device computes it natively.
        seed: decides all randomness of the run.
        threads: torch's CPU threads; 0 leaves them. A change alters the last bits of sums.
        log_every: metrics are averaged over this many steps.
        checkpoint_every: steps between checkpoints; the last step is always saved.
        keep: newest checkpoints kept, the best one aside.
        eval_every: steps between validations; a new best is saved at once.
        validation_batches: held-out batches per validation, the same ones each time.
        time_limit_s: wall-clock budget in seconds; when it is used up the run saves and
            stops, to be resumed. None: no limit.
        trackers: where metrics go: "jsonl" (metrics.jsonl), "wandb".
        wandb_mode: "offline", "online" or "disabled".
        wandb_project: project name in Weights & Biases.

    Raises:
        ConfigError: on a value out of range; UnknownChoice on a name outside its list.
    """

    steps: int = 20_000
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 3e-4
    learning_rate_floor: float = 0.05
    backbone_multiplier: float = 1.0
    warmup_steps: int = 500
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    precision: str = "auto"
    seed: int = 0
    threads: int = 0
    log_every: int = 20
    checkpoint_every: int = 1000
    keep: int = 2
    eval_every: int = 1000
    validation_batches: int = 16
    time_limit_s: float | None = None
    trackers: list[str] = field(default_factory=lambda: ["jsonl"])
    wandb_mode: str = "offline"
    wandb_project: str = "vla"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "log_every", "keep"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("checkpoint_every", "eval_every", "threads", "clip_norm", "weight_decay"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("learning_rate", "backbone_multiplier"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        floor, decay, limit = self.learning_rate_floor, self.ema_decay, self.time_limit_s
        _require(0 <= floor <= 1, "learning_rate_floor", floor, "in 0..1")
        _require(0 <= decay < 1, "ema_decay", decay, "0 (off) or below 1")
        _require(
            0 <= self.warmup_steps < self.steps,
            "warmup_steps",
            self.warmup_steps,
            f"below training.steps ({self.steps}), or the peak is never reached",
        )
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        _require(self.validation_batches >= 1, "validation_batches", self.validation_batches, "1+")
        _require(limit is None or limit > 0, "time_limit_s", limit, "above 0, or null for none")
        fits = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        _require(fits, "betas", self.betas, "two numbers in [0, 1)")
        _choose("training.precision", self.precision, PRECISIONS)
        _choose("training.wandb_mode", self.wandb_mode, WANDB_MODES)
        for tracker in self.trackers:
            _choose("entry of training.trackers:", tracker, TRACKERS)


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"training.{name} is {value}; it must be {wanted}.")


def _choose(what: str, name: str, choices: tuple[str, ...]) -> None:
    if name not in choices:
        raise UnknownChoice(what, name, choices)
