"""Many requests to one role as one call of a replica: what is sent, and which part of the answer is whose."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.batch_queue import Row
from serving.generation import Answer, Batch, Question
from studio.episodes.loss import is_loss

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

RowCall = Callable[["DeploymentHandle", Sequence[Row]], Awaitable[list[Any]]]
"""Answers to the rows, in their order; one that is an exception is that row's alone."""


async def draw(handle: DeploymentHandle, rows: Sequence[Row]) -> list[Any]:
    """Rows of prompt and seed: images, (H, W, 3) uint8, of a `DrawReplica`."""
    images: list[Any] = await handle.draw.remote(*_columns(rows))
    return images


async def edit(handle: DeploymentHandle, rows: Sequence[Row]) -> list[Any]:
    """Rows of image, edit prompt and seed: edited images with the version that made them, of an `EditReplica`."""
    edited: list[Any] = await handle.edit.remote(*_columns(rows))
    return edited


async def generate(handle: DeploymentHandle, rows: Sequence[Row]) -> list[Any]:
    """Rows of one `Batch`: its answers, of a `VlmServer`. Batches that are sampled alike go together."""
    order = sorted(range(len(rows)), key=lambda index: repr(rows[index][0].sampling))
    parts = [list(part) for _, part in groupby(order, key=lambda index: rows[index][0].sampling)]
    answers = await asyncio.gather(*(_generate(handle, [rows[index][0] for index in part]) for part in parts))
    pairs = zip(chain(*parts), chain(*answers), strict=True)
    return [answer for _, answer in sorted(pairs, key=lambda pair: pair[0])]


async def _generate(handle: DeploymentHandle, batches: Sequence[Batch]) -> list[Any]:
    """The answers to each batch. Where the call raises, each is asked for alone, so that one bad request spoils no
    other; where the replica was lost, that is raised."""
    try:
        answers, _ = await handle.generate_batch.remote(merged(batches))
    except Exception as error:
        if is_loss(error):
            raise
        if len(batches) == 1:
            return [error]
        alone = await asyncio.gather(*(_generate(handle, [batch]) for batch in batches))
        return [answer for (answer,) in alone]
    return divided(answers, batches)


def merged(batches: Sequence[Batch]) -> Batch:
    """One batch of all images and questions; sampling and deadline are those of the first."""
    questions: list[Question] = []
    images: list[np.ndarray] = []
    for batch in batches:
        questions += [replace(question, image=question.image + len(images)) for question in batch.questions]
        images += batch.images
    return replace(batches[0], images=images, questions=questions)


def divided(answers: Sequence[list[Answer]], batches: Sequence[Batch]) -> list[list[list[Answer]]]:
    """The answers to `merged(batches)` by batch: `result[batch][question][sample]`."""
    left = iter(answers)
    return [[next(left) for _ in batch.questions] for batch in batches]


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def answer_each(method: Callable[..., Sequence[Any]], columns: Sequence[Sequence[Any]]) -> list[Any]:
    """The answers of `method` to a batch, given by columns, in its order. Where it raises, each row is asked for alone,
    and the error stands in the place of those answers that raise it: one bad request spoils no other."""
    try:
        return list(method(*columns))
    except Exception as error:
        if len(columns[0]) == 1:
            return [error]
        rows = range(len(columns[0]))
        return [answer for row in rows for answer in answer_each(method, [[column[row]] for column in columns])]
