"""`vla questions exam`: how many questions a checkpoint answers."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from configs.questions_job import QuestionsExamJob
from configs.restoring import load_policy
from vla.data.questions import QuestionSet
from vla.errors import ConfigError, DataError
from vla.evaluation.question_accuracy import measure_answers
from vla.files import write_json

if TYPE_CHECKING:
    from policies.vla_policy import VlaPolicy

_TOGETHER = 32  # questions


def main(job: QuestionsExamJob) -> None:
    """Ask them all, write answers.json and print the table."""
    asked = QuestionSet(job.path).split(job.split, job.held_out)
    if not len(asked):
        raise DataError(f"The split {job.split!r} of {job.path} is empty; see held_out.")
    policy, digest = load_own(job)
    answers = answer_all(policy, asked, camera=job.camera, words=job.words)
    questions = asked.questions
    scores = measure_answers(answers, [q.answer for q in questions], [q.kind for q in questions])
    output = Path(job.output)
    output.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(q), "said": said} for q, said in zip(questions, answers, strict=True)]
    kept = {"job": asdict(job), "weights_sha256": digest, "questions_sha256": asked.hash}
    write_json(output / "answers.json", {**kept, "scores": scores, "answers": rows})
    table = Table(title=f"{len(answers)} questions of {job.path}", title_justify="left")
    for column in ("kind", "n", "right", "95 %", "commonest answer"):
        table.add_column(column)
    for kind, score in scores.items():
        low, high = score["interval"]
        cells = (f"{score['accuracy']:.1%}", f"{low:.1%} to {high:.1%}", f"{score['majority']:.1%}")
        table.add_row(kind, str(score["n"]), *cells)
    Console().print(table, f"Answers: {output / 'answers.json'}")


def load_own(job: QuestionsExamJob) -> "tuple[VlaPolicy, str]":
    """A policy of ours with its digest; others do not answer. Raises ConfigError."""
    from policies.vla_policy import VlaPolicy
    from vla.embodiment import Embodiment
    from vla.training.checkpoint import open_checkpoint

    contract = open_checkpoint(job.checkpoint).contract
    if "embodiment" not in contract:
        raise ConfigError(f"{job.checkpoint} is of a family of bodies; exams take one of one.")
    body = Embodiment.from_json(contract["embodiment"])
    policy, digest = load_policy(job.checkpoint, device=job.device, embodiment=body)
    if not isinstance(policy, VlaPolicy):
        raise ConfigError(f"{job.checkpoint} holds no policy that answers questions.")
    return policy, digest


def answer_all(policy: "VlaPolicy", asked: QuestionSet, *, camera: str, words: int) -> list[str]:
    """One answer per question, the picture in `camera` and the others black."""
    from vla.data.cotraining import choose_camera

    camera = choose_camera(camera, policy.embodiment.cameras)
    size = policy.embodiment.cameras[camera]
    answers: list[str] = []
    for start in range(0, len(asked), _TOGETHER):
        numbers = range(start, min(start + _TOGETHER, len(asked)))
        pictures = np.stack([asked.read_image(n, size.height, size.width) for n in numbers])
        shown = np.repeat(pictures[:, None], policy.history, axis=1)
        words_asked = [asked.questions[n].question for n in numbers]
        answers += policy.answer({camera: shown}, words_asked, words=words)
    return answers
