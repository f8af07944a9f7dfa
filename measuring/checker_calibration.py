"""What a Checker's yes-probabilities are worth, on pictures whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from measuring.vlm_trial import pictures
from presets.errors import BadInput
from rewards.satisfaction import HOLDS
from scenes.calibration import Bin, bins_of, expected_calibration_error
from scenes.record_file import RecordError, raw_records, read_picture
from scenes.scene_graph import Requirement

if TYPE_CHECKING:
    from serving.checker import Checker

LABELS = "labels.jsonl"
_FIELDS = {"image": str, "subject": str, "relation": str, "object": str, "holds": bool}
_MOST_BYTES = 1 << 30  # of all pictures
_BATCH = 16  # pictures


@dataclass(frozen=True, eq=False)
class Labelled:
    """One question about a picture, uint8 (height, width, 3), and whether yes is the answer."""

    image: np.ndarray
    requirement: Requirement
    holds: bool


@dataclass(frozen=True)
class Calibration:
    """`accuracy` counts probabilities from ½ on as yes, `balanced` is the mean of those of both answers; `error` is the
    expected calibration error, `brier` the mean squared error. An unanswered question has probability 0."""

    questions: int
    yes: float
    accuracy: float
    balanced: float
    error: float
    brier: float
    unanswered: int
    bins: tuple[Bin, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def drawn(count: int) -> list[Labelled]:
    """Questions about so many drawn scenes."""
    return [
        Labelled(image, requirement, holds)
        for graph, image, truth in pictures(count)
        for requirement, holds in zip(graph.related, truth, strict=True)
    ]


def read_labelled(folder: Path) -> tuple[list[Labelled], dict[str, int]]:
    """The questions of a folder of pictures with `labels.jsonl`, whose lines say image, subject, relation, object and
    whether it holds; and how many lines were skipped, by reason.

    Raises:
        BadInput: there is no such file, or none of its lines can be used.
    """
    file = folder / LABELS
    if not file.is_file():
        raise BadInput(
            f"--pictures: {str(folder)!r} holds no {LABELS}; write a line for each question, such as "
            '{"image": "1.jpg", "subject": "cat", "relation": "left of", "object": "dog", "holds": true}'
        )
    found: list[Labelled] = []
    skipped: dict[str, int] = {}
    images: dict[str, np.ndarray | str] = {}
    try:
        for _, record, problem in raw_records(file):
            read = problem or _labelled(record, folder, images)
            if isinstance(read, str):
                skipped[read] = skipped.get(read, 0) + 1
            else:
                found.append(read)
    except RecordError as error:
        raise BadInput(f"--pictures: {error}") from error
    if not found:
        raise BadInput(f"--pictures: no line of {file} can be used: {skipped}")
    return found, skipped


def _labelled(record: Any, folder: Path, images: dict[str, np.ndarray | str]) -> Labelled | str:
    """A line's question, or why it is skipped."""
    if not isinstance(record, Mapping):
        return "not an object"
    for name, kind in _FIELDS.items():
        if not isinstance(record.get(name), kind) or record[name] == "":
            return f"{name} is missing or of another type"
    name = record["image"]
    if name not in images:
        held = sum(image.nbytes for image in images.values() if not isinstance(image, str))
        images[name] = read_picture(folder, name) if held < _MOST_BYTES else "the pictures before it take 1 GiB"
    image = images[name]
    if isinstance(image, str):
        return image
    return Labelled(image, Requirement(record["subject"], record["relation"], record["object"]), record["holds"])


def calibrate(checker: Checker, asked: Sequence[Labelled]) -> Calibration:
    """Ask a Checker all these questions.

    Raises:
        TimeoutError, VlmError: it does not answer.
    """
    before = checker.unanswered
    of_picture: dict[int, list[Labelled]] = {}
    for one in asked:
        of_picture.setdefault(id(one.image), []).append(one)
    pictures_, found = list(of_picture.values()), list[tuple[float, bool]]()
    for first in range(0, len(pictures_), _BATCH):
        part = pictures_[first : first + _BATCH]
        rows = checker.satisfaction([ones[0].image for ones in part], [[o.requirement for o in ones] for ones in part])
        for ones, row in zip(part, rows, strict=True):
            found += zip(row, (one.holds for one in ones), strict=True)
    probability, truth = (np.array(column) for column in zip(*found, strict=True))
    return measured(probability, truth, checker.unanswered - before)


def measured(probability: np.ndarray, truth: np.ndarray, unanswered: int = 0) -> Calibration:
    """What probabilities (N,) of yes are worth where `truth` (N,) says whether yes is right."""
    right = (probability >= HOLDS) == truth
    classes = [right[truth == answer].mean() for answer in (False, True) if (truth == answer).any()]
    return Calibration(
        questions=len(truth),
        yes=float(truth.mean()),
        accuracy=float(right.mean()),
        balanced=float(np.mean(classes)),
        error=expected_calibration_error(probability, truth),
        brier=float(np.mean((probability - truth) ** 2)),
        unanswered=unanswered,
        bins=tuple(bins_of(probability, truth)),
    )
