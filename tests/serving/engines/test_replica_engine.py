"""What a replica does when a forked engine crashes at its start."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.engines


@pytest.fixture
def starts(monkeypatch):
    """Starts an engine whose process ends with each of these signals in turn, or lives; says by what way each began."""
    from vllm.v1.engine import utils

    from serving.engines import replica_engine

    usual = utils.get_mp_context

    def start(*ends: int) -> list[str]:
        left, ways = list(ends), []

        async def base(self) -> None:
            from vllm.model_executor.models import registry

            assert registry._run_in_subprocess(os.getpid) == os.getpid()
            context = utils.get_mp_context()
            ways.append("new" if utils.get_mp_context is usual else "forked")
            if number := left.pop(0):
                process = context.Process(target=_end, args=(number,))
                process.start()
                process.join(20)
                raise RuntimeError("Engine core initialization failed")

        monkeypatch.setattr(replica_engine.VLLMEngine, "start", base)
        engine = object.__new__(replica_engine.ReplicaEngine)
        callback = SimpleNamespace(ctx=SimpleNamespace(run_init_node=True))
        engine.llm_config = SimpleNamespace(
            get_engine_config=lambda: SimpleNamespace(actual_hf_model_id="nowhere"),
            get_or_create_callback=lambda: callback,
        )
        try:
            asyncio.run(engine.start())
        finally:
            assert utils.get_mp_context is usual
            start.ways = ways  # type: ignore[attr-defined]
        return ways

    return start


def _end(number: int) -> None:
    if number > 0:
        os.kill(os.getpid(), number)
    raise SystemExit(1)


def test_an_engine_that_lives_is_forked(starts) -> None:
    assert starts(0) == ["forked"]


def test_one_that_crashes_is_started_anew_in_a_new_interpreter(starts) -> None:
    assert starts(signal.SIGABRT, 0) == ["forked", "new"]


def test_one_that_says_what_is_wrong_is_not_started_again(starts) -> None:
    with pytest.raises(RuntimeError, match="initialization failed"):
        starts(-1)
    assert starts.ways == ["forked"]
