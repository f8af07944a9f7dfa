import asyncio

import pytest

from serving.gate import Gate
from serving.generation import ReplicaBroken


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 10))


def test_batches_pass_together():
    async def scenario():
        gate = Gate()
        async with gate.batch(), gate.batch():
            return True

    assert run(scenario())


def test_an_update_waits_for_batches_and_holds_later_ones_back():
    async def scenario():
        gate, order, inside = Gate(), [], asyncio.Event()

        async def batch(name, work_s):
            async with gate.batch():
                order.append(f"{name} in")
                inside.set()
                await asyncio.sleep(work_s)
                order.append(f"{name} out")

        async def update():
            await inside.wait()
            async with gate.update(5):
                order.append("update in")
                await asyncio.sleep(0.05)
                order.append("update out")

        async def late():
            await inside.wait()
            await asyncio.sleep(0.02)
            await batch("late", 0)

        await asyncio.gather(batch("early", 0.1), update(), late())
        return order

    assert run(scenario()) == ["early in", "early out", "update in", "update out", "late in", "late out"]


def test_two_updates_do_not_overlap():
    async def scenario():
        gate, running, most = Gate(), 0, 0

        async def update():
            nonlocal running, most
            async with gate.update(5):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.01)
                running -= 1

        await asyncio.gather(*(update() for _ in range(5)))
        return most

    assert run(scenario()) == 1


def test_an_update_that_misses_its_deadline_lets_batches_through_again():
    async def scenario():
        gate = Gate()
        async with gate.batch():
            with pytest.raises(TimeoutError, match=r"new weights waited 0.05 s for 1 batches to finish"):
                async with gate.update(0.05):
                    pass
            async with gate.batch():
                pass
        async with gate.update(1):
            return True

    assert run(scenario())


def test_a_failed_update_opens_the_gate():
    async def scenario():
        gate = Gate()
        with pytest.raises(RuntimeError, match="broken"):
            async with gate.update(1):
                raise RuntimeError("broken")
        async with gate.batch():
            return True

    assert run(scenario())


def test_a_closed_gate_says_why_and_stays_closed():
    async def scenario():
        gate = Gate()

        async def fails():
            async with gate.update(1):
                await asyncio.sleep(0.05)
                gate.close("the engine is lost")

        async def waits():
            await asyncio.sleep(0.01)
            async with gate.batch():
                pass

        _, *held_back = await asyncio.gather(fails(), waits(), waits(), return_exceptions=True)
        assert [str(error) for error in held_back] == ["the engine is lost"] * 2
        for entry in (gate.batch(), gate.update(1)):
            with pytest.raises(ReplicaBroken, match="the engine is lost"):
                async with entry:
                    pass
        with pytest.raises(ReplicaBroken, match="the engine is lost"):
            gate.refuse_if_closed()
        return True

    assert run(scenario())


class Dead(Exception):
    """Stands where an engine's own error stands."""


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            RuntimeError("could not create a primitive"),
            "^r7 could not get the memory that it needs: could not create a primitive$",
        ),
        (Dead("see the stack trace above"), "^r7 lost its engine, a process of its own; the log says what ended it$"),
    ],
)
def test_code_that_finds_its_engine_lost_or_no_memory_closes_the_gate_once_and_other_errors_leave_it_open(
    found, reason
):
    gate = Gate()
    with pytest.raises(ValueError, match="no such image"), gate.closed_by_loss("r7", Dead):
        raise ValueError("no such image")
    gate.refuse_if_closed()
    with pytest.raises(ReplicaBroken, match=reason), gate.closed_by_loss("r7", Dead):
        raise found
    with pytest.raises(ReplicaBroken, match=reason):
        gate.refuse_if_closed()
    with pytest.raises(ReplicaBroken, match=r"^closed: out of memory$"), gate.closed_by_loss("r7", Dead):
        raise ReplicaBroken("closed: out of memory")
