"""Questions on disk, and in one batch with robot data."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.vla.data.conftest import EMBODIMENT, trajectory
from vla.data.config import DataConfig, StoreConfig
from vla.data.cotraining_config import CotrainingConfig
from vla.data.questions import CAPTION, QuestionSet, write_questions
from vla.data.store import TrajectoryStore
from vla.errors import ConfigError, DataError, UnknownChoice
from vla.types import Subtask


def pictures(count, side=20, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture
def folder(tmp_path):
    scenes = [(p, [(f"what is {n}?", f"it is {n}", "name")]) for n, p in enumerate(pictures(30))]
    write_questions(tmp_path / "questions", scenes)
    return tmp_path / "questions"


@pytest.fixture
def robot(tmp_path):
    path = tmp_path / "store"
    store = TrajectoryStore.create(path, embodiment=EMBODIMENT, provenance={}, codec="zstd")
    steps = (Subtask(start=0, stop=2, text="go there"), Subtask(start=3, stop=6, text="grasp"))
    for seed in range(4):
        store.append(replace(trajectory(6, seed), subtasks=steps))
    return path


def mixed(robot, folder, **options):
    plain = {"threads": 0, "held_out": 0.0}
    return CotrainingConfig(
        robot=StoreConfig(path=str(robot), **{**plain, **options.pop("of_robot", {})}),
        questions=str(folder),
        **{**plain, **options},
    )


def load(config, batch_size=10, split="train"):
    return config.open().load(split, history=2, horizon=3, batch_size=batch_size, seed=5)


def test_a_folder_reads_back_and_is_written_the_same_each_time(folder, tmp_path):
    read = QuestionSet(folder)
    assert [(q.question, q.answer, q.kind) for q in read.questions[:2]] == [
        ("what is 0?", "it is 0", "name"),
        ("what is 1?", "it is 1", "name"),
    ]
    assert np.array_equal(read.read_image(7, 20, 20), pictures(30)[7])
    assert read.read_image(7, 8, 12).shape == (8, 12, 3)
    scenes = [(p, [(f"what is {n}?", f"it is {n}", "name")]) for n, p in enumerate(pictures(30))]
    write_questions(tmp_path / "again", scenes)
    for file in sorted(folder.rglob("*.*")):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(folder)).read_bytes()


def test_a_failed_writing_leaves_nothing(tmp_path):
    def fails():
        yield pictures(1)[0], [("what?", "that", "")]
        raise DataError("no more")

    with pytest.raises(DataError):
        write_questions(tmp_path / "questions", fails())
    assert list(tmp_path.iterdir()) == []


def test_captions_and_conversations_are_questions(tmp_path):
    rows = [
        {"image": "a.png", "caption": "a cup"},
        {
            "image": "b.png",
            "conversations": [
                {"from": "human", "value": "<image>\nwhat is it?"},
                {"from": "gpt", "value": "a fork"},
                {"from": "human", "value": "of what?"},
                {"from": "gpt", "value": "steel"},
            ],
        },
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = [(q.image, q.question, q.answer) for q in QuestionSet(tmp_path).questions]
    assert found == [
        ("a.png", CAPTION, "a cup"),
        ("b.png", "what is it?", "a fork"),
        ("b.png", "of what?", "steel"),
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"image": "../a.png", "caption": "x"}', "outside"),
        ('{"image": "/a.png", "caption": "x"}', "outside"),
        ('{"image": "a.png", "question": "x"}', "answer"),
        ('{"image": "a.png", "caption": " "}', "no text"),
        ('{"image": "a.png", "conversations": [{"from": "human", "value": "x"}]}', "line 1"),
        ("[]", "line 1"),
        ("{", "line 1"),
        ("", "no question"),
    ],
)
def test_bad_lines_are_named(tmp_path, row, words):
    (tmp_path / "questions.jsonl").write_text(row)
    with pytest.raises(DataError, match=words):
        QuestionSet(tmp_path)


def test_missing_pictures_are_named(tmp_path):
    with pytest.raises(DataError, match=r"questions\.jsonl"):
        QuestionSet(tmp_path)
    (tmp_path / "questions.jsonl").write_text('{"image": "a.png", "caption": "x"}')
    with pytest.raises(DataError, match=r"a\.png"):
        QuestionSet(tmp_path).read_image(0, 8, 8)


def test_splits_share_no_picture(folder):
    whole = QuestionSet(folder)
    seen, kept = ({q.image for q in whole.split(s, 0.3).questions} for s in ("train", "held_out"))
    assert seen
    assert kept
    assert not seen & kept
    assert len(seen | kept) == 30


def test_every_batch_has_its_share(robot, folder):
    loader = load(mixed(robot, folder, robot_share=0.7))
    for step in range(4):
        batch = loader.batch(step)
        is_robot = (batch.mask > 0).any(dim=(1, 2))
        assert is_robot.tolist() == [True] * 7 + [False] * 3
        assert batch.reply[:7] == [""] * 7
        assert torch.isfinite(batch.state[:7]).all()
        assert batch.state[7:].isnan().all()
        assert batch.labels["target"][7:].isnan().all()


def test_a_question_comes_with_its_picture_and_answer(robot, folder):
    batch = load(mixed(robot, folder)).batch(0)
    for row in range(5, 10):
        number = int(batch.instruction[row].split()[-1].rstrip("?"))
        assert batch.reply[row] == f"it is {number}"
        shown = QuestionSet(folder).read_image(number, 16, 24)
        assert np.array_equal(batch.images["front"][row, 0], shown)
        assert np.array_equal(batch.images["front"][row, 1], shown)
        assert not batch.images["wrist"][row].any()


def test_an_epoch_asks_each_question_once_and_resumes_exactly(robot, folder):
    loader = load(mixed(robot, folder))
    asked = [text for step in range(6) for text in loader.batch(step).instruction[5:]]
    assert len(set(asked)) == 30
    again = load(mixed(robot, folder, threads=2))
    resumed = again.iterate(3)
    for step in (3, 4):
        ours, theirs = loader.batch(step), next(resumed)
        assert ours.instruction == theirs.instruction
        assert torch.equal(ours.images["front"], theirs.images["front"])
        assert torch.equal(ours.actions, theirs.actions)
    resumed.close()


def test_plans_are_the_subtask_under_way(robot, folder):
    loader = load(mixed(robot, folder, of_robot={"plans": True}), batch_size=48)
    batch = loader.batch(0)  # 24 windows: each frame of 4 episodes of 6 once
    assert sorted(batch.reply[:24]) == [""] * 4 + ["go there"] * 8 + ["grasp"] * 12
    alone = StoreConfig(path=str(robot), threads=0, held_out=0).open()
    assert alone.load("train", history=1, horizon=1, batch_size=2, seed=0).batch(0).reply is None


def test_a_mixture_of_bodies_takes_questions_too(robot, folder):
    from vla.data.config import MixtureConfig

    mixture = MixtureConfig(
        root=str(robot.parent), weights={"store": 1.0}, image_size=[16, 16], threads=0, held_out=0
    )
    config = CotrainingConfig(robot=mixture, questions=str(folder), threads=0, held_out=0)
    batch = load(config).batch(1)
    assert batch.member.tolist() == [0] * 10
    assert batch.images["primary"][5:].any()


def test_the_contract_knows_the_questions(robot, folder):
    data = mixed(robot, folder, robot_share=0.25).open()
    kept = data.describe(data.statistics())["data"]
    assert kept["robot_share"] == 0.25
    assert kept["questions"] == QuestionSet(folder).hash


def test_bad_options_are_refused(robot, folder):
    with pytest.raises(ConfigError, match="robot_share"):
        mixed(robot, folder, robot_share=1.0)
    with pytest.raises(ConfigError, match=r"data\.robot\.plans"):
        mixed(robot, folder, plans=True)
    with pytest.raises(ConfigError, match="batch"):
        load(mixed(robot, folder, robot_share=0.01))
    with pytest.raises(UnknownChoice, match="side"):
        load(mixed(robot, folder, camera="side")).batch(0)
    with pytest.raises(DataError, match="held_out"):
        load(mixed(robot, folder, of_robot={"held_out": 0.3}), split="held_out")
    with pytest.raises(ConfigError):
        CotrainingConfig(robot=DataConfig(), questions=str(folder)).open()
