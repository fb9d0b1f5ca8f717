"""`vla questions` and training on what it makes: pictures, a short run, an exam."""

import json

import pytest

from configs.launch import find_verb
from configs.questions_job import QuestionsExamJob, QuestionsMakeJob
from configs.schemas import TrainJob
from configs.verbs import questions_make
from envs.config import GymWorldConfig, TabletopConfig
from policies.backbones.language_config import SmolvlmConfig
from policies.config import VlaPolicyConfig
from policies.heads.config_language import WordsConfig
from tests.vla.data.conftest import EMBODIMENT, trajectory
from vla.data.config import StoreConfig
from vla.data.cotraining_config import CotrainingConfig
from vla.data.questions import QuestionSet, write_questions
from vla.data.store import TrajectoryStore
from vla.errors import ConfigError, RenderError, UnknownChoice
from vla.training.config import TrainingConfig


def test_pictures_of_a_world_are_asked_about(tmp_path):
    world = TabletopConfig(image_size=32)
    folders = [str(tmp_path / name) for name in ("a", "b")]
    for output in folders:
        try:
            find_verb("questions make")(
                QuestionsMakeJob(world=world, scenes=3, questions=4, output=output)
            )
        except RenderError as error:
            pytest.skip(f"no GL context here: {error}")
    first, second = map(QuestionSet, folders)
    assert len(first) == 12
    assert first.questions == second.questions
    assert (first.read_image(5, 32, 32) == second.read_image(5, 32, 32)).all()
    assert first.read_image(0, 32, 32).std() > 5


def test_what_cannot_be_made_is_refused(tmp_path):
    output = str(tmp_path / "out")
    with pytest.raises(ConfigError, match="tabletop"):
        questions_make.main(
            QuestionsMakeJob(world=GymWorldConfig(tasks=["CartPole-v1"]), output=output)
        )
    with pytest.raises(UnknownChoice, match="side"):
        questions_make.main(QuestionsMakeJob(world=TabletopConfig(), camera="side", output=output))
    with pytest.raises(ConfigError, match="scenes"):
        QuestionsMakeJob(world=TabletopConfig(), scenes=0, output=output)


@pytest.mark.slow
def test_a_run_on_both_kinds_of_data_can_be_examined(tmp_path):
    store = TrajectoryStore.create(
        tmp_path / "store", embodiment=EMBODIMENT, provenance={}, codec="zstd"
    )
    for seed in range(4):
        store.append(trajectory(8, seed))
    picture = trajectory(8, 0).images["front"]
    scenes = [(frame, [("what is it?", f"{n}", "n"), ("why?", "so", "m")])
              for n, frame in enumerate(picture)]  # fmt: skip
    write_questions(tmp_path / "questions", scenes)
    policy = VlaPolicyConfig(
        horizon=2,
        backbone=SmolvlmConfig(image_size=40, state="none"),
        head=WordsConfig(bins=16),
    )
    data = CotrainingConfig(
        robot=StoreConfig(path=str(tmp_path / "store"), held_out=0.25, threads=0),
        questions=str(tmp_path / "questions"),
        held_out=0.3,
        threads=0,
    )
    loop = TrainingConfig(steps=2, batch_size=4, warmup_steps=1, validation_batches=1, threads=0)
    run = str(tmp_path / "run")
    find_verb("train")(TrainJob(policy=policy, data=data, training=loop, device="cpu", output=run))
    metrics = (tmp_path / "run/metrics.jsonl").read_text()
    rows = [json.loads(line) for line in metrics.splitlines()]
    assert any("text" in name for row in rows for name in row)
    exam = QuestionsExamJob(
        checkpoint=run, path=str(tmp_path / "questions"), split="all", words=2, device="cpu",
        output=str(tmp_path / "exam"),
    )  # fmt: skip
    find_verb("questions exam")(exam)
    kept = json.loads((tmp_path / "exam/answers.json").read_text())
    assert kept["scores"]["all"]["n"] == 16
    assert {"question", "answer", "said"} <= kept["answers"][0].keys()
