"""The shape of a Serve handle for what is in this process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.config import VlmConfig
from serving.generation import Answer, Batch, Question, Sampling
from serving.local.handle import HandledVlm, LocalHandle, LocalVlmReplica

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Slow:
    """Says on which thread it was called; one call at a time is all that it can do."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self._working = threading.Lock()

    def work(self, number: int) -> tuple[int, str]:
        assert self._working.acquire(blocking=False), "two calls at once"
        try:
            self.began.append(number)
            time.sleep(0.05)
            return number, threading.current_thread().name
        finally:
            self._working.release()

    def fail(self) -> None:
        raise ZeroDivisionError("a mistake")


class Vlm:
    """A `LocalVlm` that answers with the question's text."""

    def __init__(self) -> None:
        self.compute_seconds = 1.0

    def generate(self, images: Sequence[Any], questions: Sequence[Question], sampling: Sampling) -> list[list[Answer]]:
        self.compute_seconds += 0.5
        return [[Answer(question.text, [1], [0.0], True, 3)] for question in questions]


def handle_of(replica: Any) -> LocalHandle:
    handle = LocalHandle(lambda: LookupError("not here yet"))
    handle.put(replica, ThreadPoolExecutor(1, thread_name_prefix="model"))
    return handle


def test_calls_wait_for_each_other_on_the_replicas_thread_and_hold_up_nobody_else() -> None:
    handle = handle_of(Slow())

    async def go() -> tuple[list[Any], int]:
        calls = [asyncio.ensure_future(handle.work.remote(number)) for number in range(4)]
        turns = 0
        while not all(call.done() for call in calls):
            await asyncio.sleep(0.001)
            turns += 1
        return [call.result() for call in calls], turns

    answers, turns = asyncio.run(go())
    assert [number for number, _ in answers] == [0, 1, 2, 3]
    assert {thread for _, thread in answers} == {"model_0"}
    assert turns > 4


def test_a_call_that_is_cancelled_before_it_begins_never_does() -> None:
    slow = Slow()
    handle = handle_of(slow)

    async def go() -> None:
        first, second, third = (asyncio.ensure_future(handle.work.remote(number)) for number in range(3))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.gather(first, third)

    asyncio.run(go())
    assert slow.began == [0, 2]


def test_what_a_replica_raises_and_its_absence_are_raised() -> None:
    async def ask(handle: LocalHandle) -> None:
        await handle.fail.remote()

    with pytest.raises(ZeroDivisionError, match="a mistake"):
        asyncio.run(ask(handle_of(Slow())))
    with pytest.raises(LookupError, match="not here yet"):
        asyncio.run(ask(LocalHandle(lambda: LookupError("not here yet"))))


def test_a_vlm_answers_a_batch_as_a_replica_does_and_behind_a_handle_as_itself() -> None:
    replica = LocalVlmReplica(Vlm())  # type: ignore[arg-type]
    batch = Batch([IMAGE], [Question("a", 0), Question("b", 0)], Sampling(), 5.0)
    answers, seconds = replica.generate_batch(batch)
    assert ([answer.text for (answer,) in answers], seconds) == (["a", "b"], 0.5)
    behind = HandledVlm(handle_of(replica), "checker", VlmConfig(model="none"))
    ((answer,),) = behind.generate([IMAGE], [Question("c", 0)], Sampling())
    assert (answer.text, answer.version, behind.compute_seconds, behind.role) == ("c", 3, 0.5, "checker")


def test_a_vlm_that_does_not_answer_in_time_holds_nobody_up() -> None:
    release = threading.Event()
    stuck = SimpleNamespace(generate_batch=lambda batch: release.wait(20))
    behind = HandledVlm(handle_of(stuck), "checker", VlmConfig(model="none", call_deadline_s=0.05))
    with pytest.raises(TimeoutError):
        behind.generate([IMAGE], [Question("c", 0)], Sampling())
    release.set()
