"""Answers that an Actor is to imitate: of a run's trajectories, of a file, or of a teacher behind an endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from learner.samples import ActorSample
from presets.errors import BadInput
from rollout.trajectory import read_parquet
from scenes.dialogue import UnparsableAnswer
from scenes.dialogues.dialogue import Dialogue
from scenes.record_file import RecordError, raw_records, read_picture
from scenes.scene_graph import Requirement

if TYPE_CHECKING:
    from rollout.state import Episode

NO_BETTER, UNPARSED = "made the picture no better", "could not be parsed"
NOT_KEPT = "the run did not keep its pictures (keep)"


@dataclass(frozen=True, eq=False)
class Lesson:
    """One answer to a request about an image, uint8 (height, width, 3)."""

    image: np.ndarray
    request: str
    answer: str


Lessons = tuple[list[Lesson], Counter[str]]
"""What there is to imitate, and how many answers were left out, by reason."""


def of_trajectories(place: Path) -> Lessons:
    """The answers of a run's turns (one Parquet file, or a folder of them) whose edit improved the picture.

    Raises:
        BadInput: a file of another schema, or that cannot be read.
    """
    found, left_out = list[Lesson](), Counter[str]()
    try:
        for turn in read_parquet(place):
            if turn.edit_prompt is None:
                left_out[turn.unread or UNPARSED] += 1
            elif turn.rejected is not None or not turn.reward > turn.reward_before:
                left_out[turn.rejected or NO_BETTER] += 1
            elif turn.image_before is None:
                left_out[NOT_KEPT] += 1
            else:
                found.append(Lesson(turn.image_before.pixels, turn.request, turn.answer_text))
    except (OSError, ValueError) as error:
        raise BadInput(f"--answers: {error}") from error
    return found, left_out


def of_file(file: Path, dialogue: Dialogue) -> Lessons:
    """The answers of JSON records with `image` (beside the file), `requirements` (triples), `unmet` (their positions)
    and `answer`; where a record has `reward_before` and `reward`, those that made something better.

    Raises:
        BadInput: the file cannot be read.
    """
    found, left_out = list[Lesson](), Counter[str]()
    try:
        for _, record, problem in raw_records(file):
            read = problem or _lesson(record, file.parent, dialogue)
            if isinstance(read, str):
                left_out[read] += 1
            else:
                found.append(read)
    except (OSError, RecordError) as error:
        raise BadInput(f"--answers: {error}") from error
    return found, left_out


def _lesson(record: Any, folder: Path, dialogue: Dialogue) -> Lesson | str:
    """A record's lesson, or why it is left out."""
    if not isinstance(record, Mapping):
        return "not an object"
    try:
        wanted = tuple(Requirement(*(str(part) for part in triple)) for triple in record["requirements"])
        unmet = tuple(wanted[int(position)] for position in record["unmet"])
        answer, name = str(record["answer"]), str(record["image"])
        better = float(record.get("reward", 1.0)) > float(record.get("reward_before", 0.0))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return f"a field is missing or cannot be used ({type(error).__name__}: {error})"[:120]
    try:
        dialogue.read(answer)
    except UnparsableAnswer as error:
        return error.reason
    if not better:
        return NO_BETTER
    image = read_picture(folder, name)
    if isinstance(image, str):
        return image
    return Lesson(image, dialogue.request(wanted, unmet), answer)


def of_episodes(episodes: Sequence[Episode]) -> Lessons:
    """The answers of episodes whose edit was kept, which is where it improved the picture."""
    found, left_out = list[Lesson](), Counter[str]()
    for episode in episodes:
        before = episode.frames[0].image
        for frame in episode.frames[1:]:
            if frame.kept and frame.request is not None and frame.answer is not None:
                found.append(Lesson(before, frame.request, frame.answer))
                before = frame.image
            else:
                left_out[UNPARSED if frame.edit_prompt is None else NO_BETTER] += 1
    return found, left_out


def samples_of(lessons: Sequence[Lesson], tokenizer: Any, most_tokens: int) -> tuple[list[ActorSample], int]:
    """What the learner imitates, and how many answers are longer than `most_tokens` and left out.

    An advantage of 1 and no importance weight make the gradient of the Actor's loss that of −log p(answer), token by
    token. The rollout's log-probability 0 makes the learner's `logprob_mismatch` the same −log p.
    """
    found = []
    for lesson in lessons:
        ids = [*tokenizer.encode(lesson.answer.strip(), add_special_tokens=False), tokenizer.eos_token_id]
        if len(ids) <= most_tokens:
            found.append(ActorSample(lesson.image, lesson.request, ids, [0.0] * len(ids), 1.0))
    return found, len(lessons) - len(found)
