"""A change of what an engine computes with, between two batches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

    from serving.gate import Gate


class UpdateAbandoned(RuntimeError):
    """The sender gave an update up."""


class EngineChange:
    """Makes one change after the other; nothing is generated meanwhile. One that fails before the engine was touched
    leaves it as it was. After that point the gate is closed: the replica answers nothing until Serve has replaced it.

    Args:
        engine: vLLM's.
        gate: what batches pass through.
        probe: asks the engine one fixed question, and digests the answer.
        deadline_s: seconds of each wait.

    Attributes:
        untouched: whether the engine is as it was before this change.
        waits_for: what a change that comes too late has waited for.
        abandoned: why the sender gave this change up.
    """

    def __init__(self, engine: AsyncLLM, gate: Gate, probe: Callable[[], Awaitable[str]], deadline_s: float) -> None:
        self._engine, self._gate, self._probe, self._deadline_s = engine, gate, probe, deadline_s
        self.untouched, self.waits_for, self.abandoned = True, "", ""

    def touched(self) -> None:
        """From now on the engine is another one."""
        self.untouched = False

    async def make(self, where: str, load: Callable[[], Awaitable[None]], accept: Callable[[str, str], None]) -> None:
        """Load something while nothing is generated, then let the engine go on.

        Args:
            where: the beginning of an error's message.
            load: changes the engine; it calls `touched` when it begins to.
            accept: gets the probe's answer before and after, proves the change and takes it for what is served.

        Raises:
            TimeoutError: batches under way, the sender or the engine took longer than the deadline.
            UpdateAbandoned: the sender gave it up.
            Exception: what `load` and `accept` raise.
        """
        async with self._gate.update(self._deadline_s):
            self.untouched, self.waits_for = False, "the engine to finish what it was at"
            try:
                async with asyncio.timeout(self._deadline_s):
                    before = await self._probe()
                    await self._engine.pause_generation(mode="wait", clear_cache=True)  # chat does not pass the gate
                    self.untouched = True
                    await load()
                    await self._go_on()
                    after = await self._probe()
                accept(before, after)
            except BaseException as error:
                failure = await self._failure(where, error)
                if failure is error:
                    raise
                raise failure from error

    async def _go_on(self) -> None:
        if not await self._engine.reset_prefix_cache():
            raise RuntimeError("the prefix cache was not reset, as requests still hold blocks of it")
        await self._engine.reset_mm_cache()
        await self._engine.reset_encoder_cache()
        await self._engine.resume_generation()

    async def _failure(self, where: str, error: BaseException) -> BaseException:
        """What to raise for an error. The engine goes on with its old weights if nothing touched them."""
        if isinstance(error, TimeoutError):
            error = TimeoutError(
                f"{where}: it was not done within {self._deadline_s} s; it waited for {self.waits_for}"
            )
        elif isinstance(error, asyncio.CancelledError) and self.abandoned:
            error = UpdateAbandoned(f"{where}: {self.abandoned}")
        elif type(error) is Exception:  # so vLLM hands on what its engine process raised
            error = RuntimeError(f"{where}: {error}")
        if self.untouched:
            try:
                async with asyncio.timeout(self._deadline_s):
                    await self._engine.resume_generation()
            except Exception as stuck:
                self._gate.close(f"{where}: the engine did not go on after a failed update: {stuck!r}")
        else:
            self._gate.close(f"{where}: it failed to load it: {error!r}")
        return error
