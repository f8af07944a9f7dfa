import asyncio
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError

from serving.generation import Answer, Batch, Question, Sampling
from studio.episodes.row_calls import answer_each, divided, draw, edit, generate, merged
from tests.studio.scripted_deployments import ScriptedHandle

GREEDY, WARM = Sampling(max_tokens=48), Sampling(temperature=1.0, max_tokens=48)


def batch(shade: int, *texts: str, sampling: Sampling = GREEDY) -> Batch:
    """One image of this shade, and questions about it."""
    image = np.full((2, 2, 3), shade, np.uint8)
    return Batch([image], [Question(text, 0, shade) for text in texts], sampling, 5.0)


async def answer(asked: Batch) -> tuple[list[list[Answer]], float]:
    """The text of each question with the shade of its image; one of the texts cannot be answered."""
    if any(question.text == "bad" for question in asked.questions):
        raise ValueError("bad")
    shades = [int(asked.images[question.image][0, 0, 0]) for question in asked.questions]
    texts = [f"{question.text}{shade}" for question, shade in zip(asked.questions, shades, strict=True)]
    return [[Answer(text, [1], [0.0], True, 0)] for text in texts], 0.1


def texts_of(rows: list[Any]) -> list[Any]:
    return [row if isinstance(row, Exception) else [samples[0].text for samples in row] for row in rows]


def test_questions_keep_their_images_when_batches_are_merged() -> None:
    batches = [batch(1, "a", "b"), batch(2, "c"), batch(3, "d", "e")]
    one = merged(batches)
    assert [question.image for question in one.questions] == [0, 0, 1, 2, 2]
    assert [image[0, 0, 0] for image in one.images] == [1, 2, 3]
    assert (one.sampling, one.deadline_s) == (GREEDY, 5.0)
    assert divided(["a", "b", "c", "d", "e"], batches) == [["a", "b"], ["c"], ["d", "e"]]


def test_batches_that_are_sampled_alike_are_one_call() -> None:
    rows = [(batch(1, "a", "b"),), (batch(2, "c", sampling=WARM),), (batch(3, "d"),), (batch(4, "e", sampling=WARM),)]
    handle = ScriptedHandle(generate_batch=answer)
    assert texts_of(asyncio.run(generate(handle, rows))) == [["a1", "b1"], ["c2"], ["d3"], ["e4"]]
    assert sorted(len(asked.images) for _, (asked,) in handle.calls) == [2, 2]
    assert {asked.sampling for _, (asked,) in handle.calls} == {GREEDY, WARM}


def test_a_question_that_cannot_be_answered_spoils_no_other() -> None:
    handle = ScriptedHandle(generate_batch=answer)
    rows = [(batch(0, "a"),), (batch(7, "bad"),), (batch(8, "z"),)]
    first, broken, last = texts_of(asyncio.run(generate(handle, rows)))
    assert (first, last) == (["a0"], ["z8"])
    assert isinstance(broken, ValueError)


def test_a_lost_replica_is_said_to_all() -> None:
    async def lost(_: Batch) -> None:
        raise ActorDiedError()

    handle = ScriptedHandle(generate_batch=lost)
    with pytest.raises(ActorDiedError):
        asyncio.run(generate(handle, [(batch(1, "a"),), (batch(2, "b"),)]))
    assert len(handle.calls) == 1


def test_images_are_asked_for_by_columns() -> None:
    async def columns(*columns: Any) -> list[Any]:
        return list(zip(*columns, strict=True))

    handle = ScriptedHandle(draw=columns, edit=columns)
    assert asyncio.run(draw(handle, [("a", 1), ("b", 2)])) == [("a", 1), ("b", 2)]
    assert asyncio.run(edit(handle, [(0, "a", 1), (1, "b", 2)])) == [(0, "a", 1), (1, "b", 2)]
    assert [arguments for _, arguments in handle.calls] == [(["a", "b"], [1, 2]), ([0, 1], ["a", "b"], [1, 2])]


def test_a_batch_is_answered_in_one_call() -> None:
    calls = []

    def draw(prompts, seeds):
        calls.append(len(prompts))
        return [f"{prompt}{seed}" for prompt, seed in zip(prompts, seeds, strict=True)]

    assert answer_each(draw, [["a", "b", "c"], [1, 2, 3]]) == ["a1", "b2", "c3"]
    assert calls == [3]


def test_a_request_that_fails_spoils_no_other() -> None:
    def draw(prompts, seeds):
        if 2 in seeds:
            raise FloatingPointError("seed 2")
        return [f"{prompt}{seed}" for prompt, seed in zip(prompts, seeds, strict=True)]

    first, broken, last = answer_each(draw, [["a", "b", "c"], [1, 2, 3]])
    assert (first, last) == ("a1", "c3")
    assert isinstance(broken, FloatingPointError)
    assert str(broken) == "seed 2"
