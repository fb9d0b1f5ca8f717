"""Robot data and questions about pictures in one batch (RT-2's co-fine-tuning)."""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import torch

from vla.data.batch import Batch
from vla.data.config import DataConfig
from vla.data.cotraining_config import CotrainingConfig
from vla.data.loader import WindowLoader, prefetch
from vla.data.mixture import MixtureLoader, assemble
from vla.data.questions import QuestionSet
from vla.data.training_data import TrainingData
from vla.data.windows import WindowSampler
from vla.errors import ConfigError, DataError, choose


class CotrainingData(TrainingData):
    """Robot data as `TrainingData`, whose batches also hold questions.

    Args:
        robot: the robot's part.
        robot_config: what it was opened by.
        questions: the other part.
        config: how they are mixed.
    """

    def __init__(
        self,
        robot: TrainingData,
        robot_config: DataConfig,
        questions: QuestionSet,
        config: CotrainingConfig,
    ):
        super().__init__(robot.stores, robot_config)
        self.questions = questions
        self._mixing = config

    def load(  # type: ignore[override]
        self,
        split: str,
        *,
        history: int,
        horizon: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> "CotrainingLoader":
        """Batches of one split of both parts.

        Raises:
            DataError: when it is empty in one of them. ConfigError: for a batch too small to
                hold both.
        """
        share = self._mixing.robot_share
        windows = round(share * batch_size)
        if not 0 < windows < batch_size:
            raise ConfigError(
                f"data.robot_share is {share}: of a batch of {batch_size}, {windows} would be of "
                "the robot. Both parts need one sample; raise training.batch_size."
            )
        order = {"seed": seed, "rank": rank, "ranks": ranks}
        robot = super().load(split, history=history, horizon=horizon, batch_size=windows, **order)
        asked = self.questions.split(split, self._mixing.held_out)
        return CotrainingLoader(robot, asked, self._mixing, count=batch_size - windows, **order)

    def describe(self, statistics: Any) -> dict[str, Any]:
        """See TrainingData; the questions and their share are kept, too."""
        contract = super().describe(statistics)
        mixing = {"questions": self.questions.hash, "robot_share": self._mixing.robot_share}
        return {**contract, "data": {**contract["data"], **mixing}}


class CotrainingLoader:
    """Batches whose first samples are of the robot and whose last are questions.

    The shares are exact in every batch. Batch `step` is a function of the arguments and `step`:
    each part runs through its own shuffled epochs, so a run resumes from the step alone.

    Args:
        robot: batches of its part.
        questions: the other part.
        config: see CotrainingConfig.
        count: questions per batch, per rank.
        seed: of their order.
        rank, ranks: this process among those that train together.

    Raises:
        DataError: without a question.
    """

    def __init__(
        self,
        robot: WindowLoader | MixtureLoader,
        questions: QuestionSet,
        config: CotrainingConfig,
        *,
        count: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ):
        if not len(questions):
            raise DataError(f"No question of {questions.path} is in this split; see held_out.")
        self._robot, self._questions, self._config = robot, questions, config
        self._sampler = WindowSampler(len(questions), count, seed)
        self._rank, self._ranks = rank, ranks

    def __len__(self) -> int:
        """Windows of the robot's part; an epoch of the questions is another length."""
        return len(self._robot)

    def batch(self, step: int) -> Batch:
        """Batch number `step`, from 0. Raises DataError when a picture cannot be read."""
        robot = self._robot.batch(step)
        asked = self._ask(self._sampler.draw(step * self._ranks + self._rank), robot)
        rows = torch.arange(len(robot) + len(asked))
        batch = assemble([robot, asked], [rows[: len(robot)], rows[len(robot) :]])
        pinned = self._config.pin_memory and torch.cuda.is_available()
        return batch.pin_memory() if pinned else batch

    def iterate(self, start_step: int) -> Iterator[Batch]:
        """Batches `start_step`, `start_step` + 1, ... without end, prepared ahead, in order."""
        return prefetch(self.batch, start_step, self._config.threads)

    def _ask(self, numbers: np.ndarray, like: Batch) -> Batch:
        """Questions of these numbers (n,) in the shapes of the batch `like`: nothing to imitate,
        a state that is not known, the picture in one camera and the others black.
        """
        count = len(numbers)
        camera = choose_camera(self._config.camera, like.images)
        images = {
            name: torch.zeros((count, *image.shape[1:]), dtype=torch.uint8)
            for name, image in like.images.items()
        }
        height, width = images[camera].shape[2:4]
        for row, number in enumerate(numbers.tolist()):
            picture = self._questions.read_image(number, height, width)
            images[camera][row] = torch.from_numpy(picture)  # the same at every step of history
        chosen = [self._questions.questions[number] for number in numbers.tolist()]
        return Batch(
            images=images,
            state=torch.full((count, *like.state.shape[1:]), torch.nan),
            instruction=[one.question for one in chosen],
            actions=torch.zeros(count, *like.actions.shape[1:]),
            mask=torch.zeros(count, *like.mask.shape[1:]),
            labels={},
            member=None if like.member is None else like.member.new_zeros(count),
            reply=[one.answer for one in chosen],
        )


def choose_camera(given: str, cameras: Collection[str]) -> str:
    """Which camera sees a question's picture, see CotrainingConfig. Raises UnknownChoice."""
    if given:
        choose("camera", given, dict.fromkeys(cameras))
        return given
    known = [name for name in ("front", "primary") if name in cameras]
    return (known or sorted(cameras))[0]
