import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import RequestCancelledError

from serving.gateway.role import Role, is_loss
from serving.gateway.service import ServiceUnavailable, TurnTimeout
from serving.generation import ReplicaBroken
from tests.serving.gateway.scripted_deployments import ScriptedHandle


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


def ask(method: Callable[..., Awaitable[Any]], seconds: float = 5.0, **options: Any) -> tuple[Any, Role]:
    async def go() -> tuple[Any, Role]:
        role = Role("diffuser", ScriptedHandle(draw=method))
        return await role.ask("draw", "a prompt", 7, ends=time.monotonic() + seconds, **options), role

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
        role = Role("actor", ScriptedHandle(draw=slow), patient)
        with pytest.raises(TurnTimeout):
            await role.ask("draw", ends=time.monotonic() + 0.05)
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
        role = Role("actor", ScriptedHandle(draw=slow), patient)
        asking = asyncio.create_task(role.ask("draw", ends=time.monotonic() + 60))
        await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.01)
        assert asking.cancelled()

    asyncio.run(go())
    assert ended == ["cancelled"]
