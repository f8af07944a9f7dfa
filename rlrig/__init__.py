"""The command line: train, eval, generate, serve, report, status, doctor; and the library: load, Trainer, evaluate.

What a program imports from here is loaded when it is first used, so that `import rlrig` needs neither torch nor Ray.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from presets.errors import BadInput, ConfigError, RunFailed

if TYPE_CHECKING:
    from reports.episodes.drawing import Drawing
    from rlrig.library.models import Models, load
    from rlrig.library.runs import Trainer, evaluate

__all__ = ["BadInput", "ConfigError", "Drawing", "Models", "RunFailed", "Trainer", "evaluate", "load"]

_FILES = {"Drawing": "models", "Models": "models", "load": "models", "Trainer": "runs", "evaluate": "runs"}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'rlrig' has no attribute {name!r}")
    return getattr(import_module(f"rlrig.library.{_FILES[name]}"), name)
