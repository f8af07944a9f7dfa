"""Lets torchvision's ordinary wheel, a CUDA build, be imported beside a CPU torch.

Its import fails there for one reason: it describes two operators that its compiled part, which needs CUDA, would have
defined. So they are defined before. The processors of Qwen-VL models use neither of the two, nor anything else of the
compiled part. Where torch is a CUDA build or torchvision is a CPU build, nothing is done.

`python -m rlrig.checks.torchvision_hook` puts a copy of this file into the environment, and a `.pth` file that makes
every Python process of it watch for the import: learners, image workers and replicas of vLLM import torchvision, too.
The copy stands alone, so this file imports nothing but Python's own modules.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "rlrig_torchvision"
_OPERATORS = ("nms", "qnms")
_kept: list[Any] = []  # a library ends with its last reference


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        if "+cu" in Path(self.path).with_name("version.py").read_text(encoding="utf-8"):
            _define_operators()
        super().exec_module(module)


class Watcher(MetaPathFinder):
    """Finds torchvision as Python does, and defines the operators before its code runs."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def _define_operators() -> None:
    import torch

    if torch.version.cuda is not None or _kept:
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)


def watched() -> bool:
    """Whether this process watches for the import of torchvision, by this file or its copy."""
    return any(type(finder).__module__ in (NAME, __name__) for finder in sys.meta_path)


def watch() -> None:
    """Watch for the import of torchvision in this process."""
    if not watched():
        sys.meta_path.insert(0, Watcher())


def install(folder: Path) -> None:
    """Make every process of the environment whose packages lie in this folder watch."""
    (folder / f"{NAME}.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / f"{NAME}.pth").write_text(f"import {NAME}; {NAME}.watch()\n", encoding="utf-8")


if __name__ == "__main__":
    install(Path(sysconfig.get_paths()["purelib"]))
