"""Stand-ins for deployment handles in tests of what asks them: each method is a coroutine function of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

Method = Callable[..., Awaitable[Any]]


class ScriptedHandle:
    """`handle.method.remote(…)` as Serve's, answered by `methods`; `broadcast` asks each of `replicas`."""

    def __init__(self, *replicas: dict[str, Method], **methods: Method) -> None:
        self.replicas, self._methods = list(replicas), methods
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> SimpleNamespace:
        def remote(*arguments: Any) -> asyncio.Task[Any]:
            self.calls.append((name, arguments))
            return asyncio.ensure_future(self._methods[name](*arguments))

        return SimpleNamespace(remote=remote)

    def broadcast(self, method: str, *arguments: Any) -> SimpleNamespace:
        async def results_async(timeout_s: float, return_exceptions: bool) -> list[Any]:
            calls = (replica[method](*arguments) for replica in self.replicas)
            async with asyncio.timeout(timeout_s):
                return await asyncio.gather(*calls, return_exceptions=return_exceptions)

        self.calls.append((method, arguments))
        return SimpleNamespace(results_async=results_async)
