import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import RequestCancelledError

from serving.batch_queue import Batching, Row
from serving.generation import ReplicaBroken
from studio.episodes.loss import is_loss
from studio.episodes.role import Role
from studio.episodes.service import ServiceUnavailable, TurnTimeout
from tests.studio.scripted_deployments import ScriptedHandle


def in_turn(*answers: Any) -> Callable[..., Awaitable[Any]]:
    """A method that gives these answers one after the other, the last one again and again; errors are raised."""
    left = list(answers)

    async def method(*_: Any) -> Any:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return method


def of_task(error: Exception) -> Exception:
    """An error as Ray raises it where a replica's code raised `error`."""
    return RayTaskError("draw", "traceback", error).as_instanceof_cause()


async def one_by_one(handle: ScriptedHandle, rows: Sequence[Row]) -> list[Any]:
    """Draws as `row_calls.draw` does, from a method that takes one row."""
    return [await handle.draw.remote(*row) for row in rows]


def ask(method: Callable[..., Awaitable[Any]], seconds: float = 5.0, **options: Any) -> tuple[Any, Role]:
    async def go() -> tuple[Any, Role]:
        role = Role("diffuser", ScriptedHandle(draw=method), one_by_one, Batching())
        return await role.ask("a prompt", 7, ends=time.monotonic() + seconds, **options), role

    return asyncio.run(go())


@pytest.mark.parametrize(
    "loss",
    [ActorDiedError(), of_task(ReplicaBroken("a batch hangs")), of_task(TimeoutError()), RequestCancelledError()],
)
def test_what_a_lost_replica_was_asked_is_asked_again(loss: Exception) -> None:
    answer, role = ask(in_turn(loss, "image"))
    assert answer == "image"
    assert role.lost == 1
    assert role.handle.calls == [("draw", ("a prompt", 7))] * 2


def test_an_error_of_the_model_is_raised_at_once() -> None:
    assert not is_loss(of_task(FloatingPointError("pixels")))
    with pytest.raises(FloatingPointError):
        ask(in_turn(of_task(FloatingPointError("pixels"))))


def test_a_replica_that_does_not_come_back_is_a_503_and_a_slow_one_a_504() -> None:
    with pytest.raises(ServiceUnavailable, match="the diffuser cannot answer") as refused:
        ask(in_turn(ActorDiedError()), seconds=0.3)
    assert refused.value.retry_after_s > 0

    async def slow(*_: Any) -> None:
        await asyncio.sleep(60)

    with pytest.raises(TurnTimeout, match="the diffuser did not answer"):
        ask(slow, seconds=0.05)


def test_an_answer_with_other_weights_is_not_taken() -> None:
    answer, role = ask(in_turn(("old", 1), ("new", 2)), stale=lambda answer: answer[1] != 2)
    assert answer == ("new", 2)
    assert role.lost == 1
    with pytest.raises(ServiceUnavailable):
        ask(in_turn(("old", 1)), seconds=0.3, stale=lambda answer: answer[1] != 2)


@pytest.mark.parametrize(("patient", "expected"), [(False, ["cancelled"]), (True, ["done"])])
def test_a_call_that_ran_out_of_time_is_left_to_a_replica_that_sees_for_itself(
    patient: bool, expected: list[str]
) -> None:
    ended: list[str] = []

    async def slow(*_: Any) -> None:
        try:
            await asyncio.sleep(0.2)
            ended.append("done")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def go() -> None:
        role = Role("actor", ScriptedHandle(draw=slow), one_by_one, Batching(), patient=patient)
        with pytest.raises(TurnTimeout):
            await role.ask(ends=time.monotonic() + 0.05)
        await asyncio.sleep(0.3)

    asyncio.run(go())
    assert ended == expected


@pytest.mark.parametrize("patient", [False, True])
def test_cancelling_ends_the_call(patient: bool) -> None:
    ended: list[str] = []

    async def slow(*_: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def go() -> None:
        role = Role("actor", ScriptedHandle(draw=slow), one_by_one, Batching(), patient=patient)
        asking = asyncio.create_task(role.ask(ends=time.monotonic() + 60))
        await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.01)
        assert asking.cancelled()

    asyncio.run(go())
    assert ended == ["cancelled"]


def test_requests_at_the_same_time_go_together() -> None:
    async def together(handle: ScriptedHandle, rows: Sequence[Row]) -> list[Any]:
        return await handle.draw.remote([row[0] for row in rows])

    async def draw(seeds: list[int]) -> list[Any]:
        await asyncio.sleep(0.02)
        return [ValueError("seed 3") if seed == 3 else 10 * seed for seed in seeds]

    async def go() -> None:
        handle = ScriptedHandle(draw=draw)
        role = Role("diffuser", handle, together, Batching(max_batch=4, at_once=1, full_at_once=2))
        ends = time.monotonic() + 5
        answers = await asyncio.gather(*(role.ask(seed, ends=ends) for seed in range(10)), return_exceptions=True)
        assert [answer for answer in answers if not isinstance(answer, ValueError)] == [
            10 * seed for seed in range(10) if seed != 3
        ]
        assert str(answers[3]) == "seed 3"
        assert [arguments[0] for _, arguments in handle.calls] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]

    asyncio.run(go())


def test_what_a_lost_replica_was_asked_together_is_asked_again_by_each() -> None:
    async def together(handle: ScriptedHandle, rows: Sequence[Row]) -> list[Any]:
        return await handle.draw.remote([row[0] for row in rows])

    calls = in_turn(ActorDiedError(), [0, 10, 20])

    async def go() -> None:
        role = Role("diffuser", ScriptedHandle(draw=calls), together, Batching())
        ends = time.monotonic() + 5
        assert await asyncio.gather(*(role.ask(seed, ends=ends) for seed in range(3))) == [0, 10, 20]
        assert role.lost == 3

    asyncio.run(go())
