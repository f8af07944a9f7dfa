import asyncio

import pytest

from studio.episodes.service import ServiceUnavailable
from studio.episodes.version_gate import VersionGate


def gate(deadline_s: float = 5.0) -> VersionGate:
    return VersionGate({"actor": 0, "editor": 3}, deadline_s)


def test_an_update_waits_for_the_episodes_inside_and_those_that_come_see_the_new_version() -> None:
    async def go() -> list[tuple[str, dict[str, int]]]:
        of, seen, leave = gate(), [], asyncio.Event()

        async def episode(name: str, until: asyncio.Event | None) -> None:
            async with of.episode() as versions:
                if until is not None:
                    await until.wait()
                seen.append((name, versions))

        async def update() -> None:
            async with of.update("actor", 1):
                seen.append(("update", of.versions))

        inside = asyncio.create_task(episode("inside", leave))
        await asyncio.sleep(0)
        replacing = asyncio.create_task(update())
        await asyncio.sleep(0.01)
        late = asyncio.create_task(episode("late", None))
        await asyncio.sleep(0.05)
        assert seen == []  # neither goes on before the first has left
        assert of.inside == 1
        leave.set()
        await asyncio.gather(inside, replacing, late)
        assert of.inside == 0
        return seen

    old, new = {"actor": 0, "editor": 3}, {"actor": 1, "editor": 3}
    assert asyncio.run(go()) == [("inside", old), ("update", old), ("late", new)]


def test_an_update_gives_up_when_an_episode_stays_and_the_gate_opens_again() -> None:
    async def go() -> None:
        of = gate(0.05)
        async with of.episode():
            with pytest.raises(TimeoutError, match=r"0\.05 s"):
                async with of.update("actor", 1):
                    pass
            async with of.episode() as versions:
                assert versions == {"actor": 0, "editor": 3}

    asyncio.run(go())


def test_a_failed_update_leaves_the_version() -> None:
    async def go() -> None:
        of = gate()
        with pytest.raises(ValueError, match="refused"):
            async with of.update("editor", 4):
                raise ValueError("refused")
        async with of.episode() as versions:
            assert versions["editor"] == 3

    asyncio.run(go())


def test_an_episode_that_waits_too_long_is_told_to_come_again() -> None:
    async def go() -> None:
        of = gate(0.05)
        async with of.update("actor", 1):
            with pytest.raises(ServiceUnavailable, match="new weights") as refused:
                async with of.episode():
                    pass
        assert refused.value.retry_after_s > 0
        assert of.inside == 0
        async with of.episode() as versions:
            assert versions["actor"] == 1

    asyncio.run(go())


def test_a_cancelled_episode_holds_nothing_back() -> None:
    async def go() -> None:
        of = gate()

        async def stay() -> None:
            async with of.episode():
                await asyncio.sleep(60)

        staying = asyncio.create_task(stay())
        await asyncio.sleep(0.01)
        staying.cancel()
        await asyncio.gather(staying, return_exceptions=True)
        async with asyncio.timeout(1), of.update("actor", 1):
            assert of.inside == 0

    asyncio.run(go())
