"""The job of `vla quantize`."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from envs.config import WorldConfig
from policies.quantize.config import RecipeConfig
from vla.errors import ConfigError
from vla.evaluation.config import EvaluationConfig
from vla.runtime.config import ControlConfig


@dataclass(kw_only=True, slots=True)
class QuantizeJob:
    """Store a checkpoint in few bits, if it then still plans and succeeds as before.

    Attributes:
        checkpoint: a run's folder (its best checkpoint is taken) or one checkpoint, in float.
        recipe: what is quantized and how the result is run.
        store: folder of a trajectory store: training episodes calibrate, held-out ones judge.
        held_out: fraction of its episodes that was held out in training, as data.held_out.
        calibration, judged: observations to calibrate on and to compare plans on.
        action_limit: largest error of plans (99th percentile) that passes, as a part of the
            normalised range.
        closed_loop: try both policies on the same scenes; false leaves success unknown, which
            is recorded.
        margin: success rate that may be lost; a larger loss must be ruled out.
        world, control, evaluation: of the closed loop, as for `vla eval`.
        override: write the result even if it fails; this is recorded with the faults.
        device: as for training.
        output: folder of the new checkpoint; evidence goes to OUTPUT-gate.
    """

    checkpoint: str = MISSING
    recipe: RecipeConfig = MISSING
    store: str = MISSING
    held_out: float = 0.1
    calibration: int = 64
    judged: int = 128
    action_limit: float = 0.02
    closed_loop: bool = True
    margin: float = 0.05
    world: WorldConfig = MISSING
    control: ControlConfig = field(default_factory=ControlConfig)
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(videos=0))
    override: bool = False
    device: str = "auto"
    output: str = MISSING

    def __post_init__(self) -> None:
        for name in ("calibration", "judged"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least 1.")
        for name in ("action_limit", "margin"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a part of 1, e.g. 0.05.")
