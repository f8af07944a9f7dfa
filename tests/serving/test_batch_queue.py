import asyncio
from collections.abc import Sequence

import pytest

from serving.batch_queue import Batching, BatchQueue


class Model:
    """Takes its time, and keeps the sizes of its batches."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds, self.batches, self.at_once, self.most_at_once = seconds, [], 0, 0

    async def work(self, rows: Sequence[tuple[int, str]]) -> list[str | Exception]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.batches.append(len(rows))
        await asyncio.sleep(self.seconds)
        self.at_once -= 1
        return [ValueError(name) if name == "bad" else f"{name}{number}" for number, name in rows]


def test_what_comes_while_a_batch_is_at_work_is_in_the_next_one() -> None:
    async def go() -> None:
        model = Model()
        queue = BatchQueue(model.work, Batching(max_batch=8, wait_s=0.005))
        first = asyncio.create_task(queue.ask(0, "a"))
        await asyncio.sleep(0.02)  # it is at work
        others = []
        for number in range(1, 11):
            others.append(asyncio.create_task(queue.ask(number, "a")))
            await asyncio.sleep(0.001)
        assert await first == "a0"
        assert await asyncio.gather(*others) == [f"a{number}" for number in range(1, 11)]
        assert model.batches == [1, 8, 2]
        assert model.most_at_once == 1

    asyncio.run(go())


def test_requests_that_come_together_are_one_batch_and_an_error_is_that_of_its_row() -> None:
    async def go() -> None:
        model = Model()
        queue = BatchQueue(model.work, Batching(max_batch=4, wait_s=0.01))
        answers = await asyncio.gather(
            *(queue.ask(k, n) for k, n in enumerate(["x", "bad", "z"])), return_exceptions=True
        )
        assert (answers[0], answers[2]) == ("x0", "z2")
        assert isinstance(answers[1], ValueError)
        assert model.batches == [3]

    asyncio.run(go())


def test_a_cancelled_request_is_not_worked_on() -> None:
    async def go() -> None:
        model = Model()
        queue = BatchQueue(model.work, Batching(max_batch=4, wait_s=0.0))
        first = asyncio.create_task(queue.ask(0, "a"))
        await asyncio.sleep(0.01)
        gone, kept = asyncio.create_task(queue.ask(1, "a")), asyncio.create_task(queue.ask(2, "a"))
        await asyncio.sleep(0.01)
        gone.cancel()
        assert await asyncio.gather(first, kept) == ["a0", "a2"]
        assert model.batches == [1, 1]
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert await queue.ask(3, "b") == "b3"  # it goes on after it stood still

    asyncio.run(go())


def test_what_breaks_a_whole_batch_is_raised_to_all_in_it() -> None:
    async def broken(rows: Sequence[tuple[int]]) -> list[int]:
        raise RuntimeError("no device")

    async def go() -> None:
        queue = BatchQueue(broken, Batching(max_batch=4, wait_s=0.0))
        errors = await asyncio.gather(queue.ask(1), queue.ask(2), return_exceptions=True)
        assert [str(error) for error in errors] == ["no device"] * 2

    asyncio.run(go())


def test_more_are_at_work_only_where_a_full_batch_waits() -> None:
    async def go() -> None:
        model = Model()
        queue = BatchQueue(model.work, Batching(max_batch=4, wait_s=0.0, at_once=2, full_at_once=3))
        asked = []
        for number in range(9):
            asked.append(asyncio.create_task(queue.ask(number, "a")))
            await asyncio.sleep(0.002)
        assert await asyncio.gather(*asked) == [f"a{number}" for number in range(9)]
        assert model.batches == [1, 1, 4, 3]  # the third began when four waited, the last when a place was free
        assert model.most_at_once == 3

    asyncio.run(go())


def test_a_batch_that_nobody_waits_for_is_cancelled_and_the_next_one_begins() -> None:
    async def go() -> None:
        model = Model(seconds=0.05)
        queue = BatchQueue(model.work, Batching(max_batch=4, wait_s=0.0))
        gone = [asyncio.create_task(queue.ask(number, "a")) for number in range(2)]
        await asyncio.sleep(0.01)
        began = asyncio.get_running_loop().time()
        gone[0].cancel()
        kept = asyncio.create_task(queue.ask(2, "a"))
        await asyncio.sleep(0.01)
        assert model.batches == [2]  # somebody waits for it still
        gone[1].cancel()
        model.seconds = 0.0
        assert await kept == "a2"
        assert asyncio.get_running_loop().time() - began < 0.05
        assert model.batches == [2, 1]

    asyncio.run(go())
