"""Ray's LLM server and its engine on vLLM, imported so that processes which do so at the same time all can.

When they are imported, they register connectors in a store that all processes of a Ray share: they look whether a name
is there, and are an error where another process has put it there before they do. What was put there is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")

_TRIES = 8  # one for each name that another process may have been quicker with, and as many again


def imported(load: Callable[[], T]) -> T:
    """What `load` imports, tried again where another process registered something meanwhile.

    Raises:
        ValueError: something is wrong with what is registered, or with what is imported.
    """
    for _ in range(_TRIES - 1):
        try:
            return load()
        except ValueError as error:
            if "already registered" not in str(error):
                raise
    return load()


_llm: Any = imported(lambda: import_module("ray.serve.llm"))
LLMConfig: Any = _llm.LLMConfig
LLMServer: Any = import_module("ray.serve.llm.deployment").LLMServer
VLLMEngine: Any = import_module("ray.llm._internal.serve.engines.vllm.vllm_engine").VLLMEngine
