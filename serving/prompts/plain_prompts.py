"""Plain prompts into requirements, by the Actor's VLM: it answers as on disk, without what training made of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator

import numpy as np

from scenes.json_answers import UnreadableAnswer
from scenes.pictures.size import PictureSize
from scenes.requirements_reader import NotUnderstood
from scenes.vocabulary.plain_prompt import ReadPrompt, plain_request, read_plain
from scenes.vocabulary.vocabulary import Vocabulary
from serving.generation import Answer, Question, Sampling, Vlm

SAMPLING = Sampling(max_tokens=768, base=True)
"""How the VLM answers: without an adapter, and in no form that the Actor's answers must have."""
TRIES = 2
_AGAIN = "\n\nAn earlier answer could not be used: {problem}. Write nothing but one complete JSON object."


class UnreadablePrompt(ValueError):
    """The VLM made no requirements of a prompt; the message says what its answer lacked."""


def blank(size: PictureSize) -> np.ndarray:
    """The picture beside the question, as a VLM always gets one: one grey, uint8 of `size.shape`."""
    return np.full(size.shape, 127, np.uint8)


def reading(text: str, vocabulary: Vocabulary) -> Generator[str, Answer, ReadPrompt]:
    """Asks for a prompt's requirements: yields a question, and takes its answer. One without JSON is asked for again,
    with what was wrong, `TRIES` times in all.

    Raises:
        ValueError: the prompt is empty or too long.
        UnreadablePrompt: no answer can be used.
    """
    request, problem = plain_request(text, vocabulary), ""
    for _ in range(TRIES):
        answer = yield request + (_AGAIN.format(problem=problem) if problem else "")
        try:
            found = read_plain(answer.text, vocabulary)
        except UnreadableAnswer as error:
            problem = error.problem if answer.finished else f"{error.problem}, as it was cut off"
            continue
        if found.graph is not None:
            return found
        problem = f"{found.unused[0][0]!r}: {found.unused[0][1]}" if found.unused else "it lists no requirements"
    raise _unreadable(f"made no requirements of it in {TRIES} tries; at last: {problem}", vocabulary)


def _told(asking: Generator[str, Answer, ReadPrompt], answer: Answer) -> str | ReadPrompt:
    """The next question after an answer, or what came of the last one."""
    try:
        return asking.send(answer)
    except StopIteration as end:
        found: ReadPrompt = end.value
        return found


def _unreadable(what: str, vocabulary: Vocabulary) -> UnreadablePrompt:
    return UnreadablePrompt(
        f"prompt: the Actor's VLM {what}. Write the requirements yourself, for example {vocabulary.example!r}"
    )


def read_plain_prompt(vlm: Vlm, text: str, vocabulary: Vocabulary, size: PictureSize) -> ReadPrompt:
    """What a plain prompt requires of a picture, as a VLM reads it.

    Args:
        size: of the run's pictures.

    Raises:
        ValueError: the prompt is empty or too long.
        UnreadablePrompt: no answer can be used.
        TimeoutError: no answer within the Actor's `call_deadline_s`.
    """
    asking = reading(text, vocabulary)
    step: str | ReadPrompt = next(asking)
    while isinstance(step, str):
        try:
            ((answer,),) = vlm.generate([blank(size)], [Question(step, 0, 0)], SAMPLING)
        except ValueError as error:
            raise _unreadable(f"cannot be asked: {error}", vocabulary) from error
        step = _told(asking, answer)
    return step


async def read_prompt(say: Callable[[str], Awaitable[Answer]], text: str, vocabulary: Vocabulary) -> ReadPrompt:
    """What a prompt requires of a picture: as the vocabulary reads it, or else a VLM.

    Args:
        say: gives the VLM's answer to a question.

    Raises:
        Impossible: the requirements cannot hold together.
        ValueError: the prompt is empty or too long.
        UnreadablePrompt: no answer can be used.
        Exception: what `say` raises, but for a ValueError, which is an UnreadablePrompt then.
    """
    try:
        return ReadPrompt(vocabulary.read(text))
    except NotUnderstood:
        asking = reading(text, vocabulary)
    step: str | ReadPrompt = next(asking)
    while isinstance(step, str):
        try:
            answer = await say(step)
        except ValueError as error:
            raise _unreadable(f"cannot be asked: {error}", vocabulary) from error
        step = _told(asking, answer)
    return step
