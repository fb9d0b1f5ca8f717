r"""Questions about pictures: a folder of images beside one line of JSON per question.

    FOLDER/questions.jsonl    {"image": "images/7.png", "question": "...", "answer": "...",
                               "kind": "colour"}             ("kind" may be missing)
                              {"image": "images/8.jpg", "caption": "..."}
                              {"image": "images/9.jpg", "conversations": [{"from": "human",
                               "value": "<image>\n..."}, {"from": "gpt", "value": "..."}, ...]}

The last form is that of LLaVA's data; each of its turns becomes a question of its own.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

from vla.errors import DataError
from vla.files import complete_folder, digest_file, write_bytes

FILE = "questions.jsonl"
CAPTION = "Describe the picture."
"""What is asked where the data have a caption only."""

UInt8 = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question about one picture.

    Attributes:
        image: path of the picture, relative to the folder.
        question, answer: the words.
        kind: what is asked for, e.g. "colour"; to tell accuracies apart.
    """

    image: str
    question: str
    answer: str
    kind: str = ""


class QuestionSet:
    """A folder of questions, all in memory; pictures are read when asked for.

    Args:
        path: the folder.
        questions: a part of them; all without it.
        cache_bytes: keep resized pictures in memory up to this many bytes.

    Raises:
        DataError: for a file that is missing, or a line that is none of the known forms, or
            names a picture outside of the folder.
    """

    def __init__(
        self, path: Path | str, questions: list[Question] | None = None, *, cache_bytes: int = 0
    ):
        self.path = Path(path)
        self.questions = read_questions(self.path) if questions is None else questions
        self._room = cache_bytes
        self._kept: dict[tuple[str, int, int], UInt8] = {}

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def hash(self) -> str:
        """SHA-256 of the file with the words."""
        return digest_file(self.path / FILE)

    def split(self, split: str, held_out: float) -> "QuestionSet":
        """The questions of "train", "held_out" or "all"; those of one picture stay together.

        Which side a picture is on depends on its name alone, so more data do not move it.
        """
        chosen = [
            one
            for one in self.questions
            if split == "all" or (_place(one.image) < held_out) == (split == "held_out")
        ]
        return QuestionSet(self.path, chosen, cache_bytes=self._room)

    def read_image(self, number: int, height: int, width: int) -> UInt8:
        """Picture of a question, uint8 (H, W, 3), RGB, squeezed to the size; not to be changed.

        Raises:
            DataError: when it cannot be read.
        """
        name = self.questions[number].image
        key = (name, height, width)
        if key in self._kept:
            return self._kept[key]
        file = self.path / name
        content = np.fromfile(file, np.uint8) if file.is_file() else np.empty(0, np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB) if content.size else None
        if image is None:
            raise DataError(f"{file} is missing or no picture; {self.path / FILE} asks about it.")
        if image.shape[:2] != (height, width):
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        image = np.asarray(image, np.uint8)
        if image.nbytes <= self._room:  # threads that race here store equal pictures
            self._room -= image.nbytes
            self._kept[key] = image
        return image


def read_questions(folder: Path) -> list[Question]:
    """Every question of a folder, in order. Raises DataError, see QuestionSet."""
    file = folder / FILE
    if not file.is_file():
        raise DataError(f"There is no {file}; `vla questions make` writes one.")
    found = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                found += list(_parse(json.loads(line)))
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{file}, line {number}: {error!r}. A line has image with question and "
                    "answer, or caption, or conversations."
                ) from error
    if not found:
        raise DataError(f"{file} holds no question.")
    return found


def _parse(row: dict[str, Any]) -> Iterator[Question]:
    image = _text(row["image"])
    if Path(image).is_absolute() or ".." in Path(image).parts:
        raise ValueError(f"the image {image!r} lies outside of the folder")
    if "conversations" in row:
        turns = row["conversations"]
        for asked, told in zip(turns[::2], turns[1::2], strict=True):
            if (asked["from"], told["from"]) != ("human", "gpt"):
                raise ValueError("the turns are not of human and gpt by turns")
            question = _text(asked["value"]).replace("<image>", "").strip()
            yield Question(image=image, question=question, answer=_text(told["value"]))
    elif "caption" in row:
        caption = _text(row["caption"])
        yield Question(image=image, question=CAPTION, answer=caption, kind="caption")
    else:
        answer, kind = _text(row["answer"]), str(row.get("kind", ""))
        yield Question(image=image, question=_text(row["question"]), answer=answer, kind=kind)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no text")
    return value


def _place(name: str) -> float:
    """A number in [0, 1) that a name stands for."""
    return crc32(name.encode()) / 2**32


def write_questions(
    folder: Path | str, scenes: Iterable[tuple[UInt8, list[tuple[str, str, str]]]]
) -> list[Question]:
    """Write a folder of questions, all of it or nothing; one that is there is replaced.

    Args:
        folder: where to.
        scenes: picture uint8 (H, W, 3), RGB, and (question, answer, kind) of each.

    Returns:
        What was written.
    """
    questions = []
    with complete_folder(Path(folder)) as draft:
        (draft / "images").mkdir()
        for number, (image, asked) in enumerate(scenes):
            name = f"images/{number:06d}.png"
            done, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            assert done
            write_bytes(draft / name, content.tobytes())
            for question, answer, kind in asked:
                questions.append(Question(image=name, question=question, answer=answer, kind=kind))
        rows = [
            {"image": q.image, "question": q.question, "answer": q.answer, "kind": q.kind}
            for q in questions
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_bytes(draft / FILE, text.encode())
    return questions
