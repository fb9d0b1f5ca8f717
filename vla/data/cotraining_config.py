"""Options of training on robot data and questions about pictures together."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla.data.config import DataConfig
from vla.errors import ConfigError

if TYPE_CHECKING:
    from vla.data.training_data import TrainingData


@dataclass(kw_only=True, slots=True)
class CotrainingConfig(DataConfig):
    """Robot data and questions about pictures in every batch (RT-2's co-fine-tuning).

    `held_out`, `threads`, `cache_gb` and `pin_memory` are of the questions here; the robot's
    part has its own.

    Attributes:
        robot: the robot's part: data/robot=store or data/robot=mixture.
        questions: folder of the other part, see `vla.data.questions`.
        robot_share: of each batch (RT-2: about 0.5 for PaLI-X, 0.66 for PaLM-E). It sets how
            many samples there are; how much the text loss weighs is policy.text_weight.
        camera: which one sees their pictures; "": front or primary if there is one, else the
            first by name. The others are black.
    """

    kind: str = "cotraining"
    robot: DataConfig = field(default_factory=DataConfig)
    questions: str = "???"
    robot_share: float = 0.5
    camera: str = ""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        if not 0 < self.robot_share < 1:
            raise ConfigError(f"data.robot_share is {self.robot_share}; between 0 and 1, please.")
        if self.image_size or self.plans:
            raise ConfigError(
                "data.image_size and data.plans are of the robot's part: give "
                "data.robot.image_size or data.robot.plans."
            )

    def open(self) -> "TrainingData":
        """Open both parts. Raises DataError or ConfigError."""
        from vla.data.cotraining import CotrainingData
        from vla.data.questions import QuestionSet

        questions = QuestionSet(self.questions, cache_bytes=int(self.cache_gb * 1e9))
        return CotrainingData(self.robot.open(), self.robot, questions, self)
