"""The jobs of `vla questions`: pictures of our scenes with questions, and an exam on them."""

from dataclasses import dataclass

from omegaconf import MISSING

from envs.config import WorldConfig
from vla.data.splits import SPLITS
from vla.errors import ConfigError, choose


@dataclass(kw_only=True, slots=True)
class QuestionsMakeJob:
    """Draw scenes of a world and write pictures, questions and exact answers.

    Colour, shape, count, presence, position, comparison and a caption; see docs of
    `vla.data.questions` for the files. The same numbers give the same files.

    Attributes:
        world: whose scenes; the first task's.
        scenes: how many pictures.
        questions: per picture.
        camera: which one takes the pictures.
        seed: of everything; scenes never meet those of an evaluation.
        output: folder to write; one that is there is replaced.
    """

    world: WorldConfig = MISSING
    scenes: int = 500
    questions: int = 6
    camera: str = "front"
    seed: int = 0
    output: str = MISSING

    def __post_init__(self) -> None:
        for name in ("scenes", "questions"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; it must not be negative.")


@dataclass(kw_only=True, slots=True)
class QuestionsExamJob:
    """Let a checkpoint answer questions about pictures; accuracy by kind, with intervals.

    Attributes:
        checkpoint: a run's folder or one checkpoint; its policy needs a language model.
        path: folder of the questions.
        split: "held_out", "train" or "all".
        held_out: fraction of the pictures, as data.held_out in training.
        camera: see data.camera of data=cotraining.
        words: longest answer.
        device: as for training.
        output: folder of answers.json.
    """

    checkpoint: str = MISSING
    path: str = MISSING
    split: str = "held_out"
    held_out: float = 0.1
    camera: str = ""
    words: int = 16
    device: str = "auto"
    output: str = MISSING

    def __post_init__(self) -> None:
        choose("split", self.split, dict.fromkeys(SPLITS))
        if self.words < 1:
            raise ConfigError(f"words is {self.words}; it must be at least 1.")
