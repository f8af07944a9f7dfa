"""The code blocks of documentation pages, and how they are run."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.places import ROOT

DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?(?:^`(?P<file>[\w.]+)`:\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A code block. `file` is the name that stands before it as `` `name`: ``, `mark` the comment above it."""

    language: str
    text: str
    file: str | None = None
    mark: str | None = None


def blocks_of(page: str) -> list[Block]:
    """All code blocks of a Markdown page, in order."""
    return [Block(one["language"], one["text"], one["file"], one["mark"]) for one in _BLOCK.finditer(page)]


def files_of(page: str) -> dict[str, str]:
    """The files that a page gives in full, by name."""
    return {block.file: block.text for block in blocks_of(page) if block.file is not None}


def environment_with_rlrig(folder: Path) -> Mapping[str, str]:
    """An environment in which `rlrig` and `python` are those of this repository; `folder` is made for their scripts."""
    folder.mkdir(parents=True)
    for name, command in (("rlrig", "-m rlrig.cli"), ("python", "")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        script.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**inherited, "PATH": path, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
