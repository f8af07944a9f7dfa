"""Ray's registration of connectors, when another process is quicker."""

from __future__ import annotations

import importlib

import pytest

pytestmark = pytest.mark.engines


def test_what_another_process_registers_meanwhile_is_no_error(monkeypatch) -> None:
    from ray.llm._internal.serve.engines.vllm.kv_transfer import factory
    from ray.llm._internal.serve.utils.registry import ComponentRegistry

    from serving.engines.ray_llm import imported

    real, looks = ComponentRegistry.contains, []

    def contains(self, name: str) -> bool:
        looks.append(name)  # at the first look of all, the other process has not come yet
        return len(looks) > 1 and real(self, name)

    monkeypatch.setattr(ComponentRegistry, "contains", contains)
    with pytest.raises(ValueError, match="already registered"):
        importlib.reload(factory)
    looks.clear()
    assert imported(lambda: importlib.reload(factory)) is factory
    assert len(looks) == 2 + len(factory.BUILTIN_BACKENDS)


def test_another_error_is_told_at_once() -> None:
    from serving.engines.ray_llm import imported

    tries = []

    def load() -> None:
        tries.append(1)
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        imported(load)
    assert len(tries) == 1
