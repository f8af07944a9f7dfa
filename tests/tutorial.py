"""The tutorial's page as a program: its code blocks are executed, in order, in an empty folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import DOCS, Block, blocks_of, environment_with_rlrig
from tests.local_cluster import eventually
from tests.marked_processes import marked_processes

PAGE = (DOCS / "tutorial.md").read_text()
BLOCKS = blocks_of(PAGE)
STEPS = [block for block in BLOCKS if block.mark is None]
_BLOCK_DEADLINE_S = 900
_SETTLED_S = 20


@dataclass(frozen=True)
class Tutorial:
    """`printed` is what every block printed that comes before the server's, by its text."""

    folder: Path
    environment: Mapping[str, str]
    printed: Mapping[str, str]

    @property
    def run(self) -> Path:
        """The folder of the run that it trains."""
        return self.folder / "runs" / "tutorial"

    def of(self, mark: str) -> str:
        """What the one block printed that holds `mark`."""
        (text,) = (output for block, output in self.printed.items() if mark in block)
        return text

    def execute(self, block: Block) -> str:
        """What a block prints; it must not fail."""
        return _execute(block, self.folder, self.environment)


def go_through(folder: Path) -> Tutorial:
    """Execute all steps in `folder`; none may fail, or leave a process behind."""
    environment = {**environment_with_rlrig(folder / "bin"), "RLRIG_TEST_MARK": str(folder)}
    work = folder / "work"
    work.mkdir()
    printed = {block.text: _execute(block, work, environment) for block in STEPS}
    eventually("processes that the steps left behind", lambda: marked_processes(str(folder)), [], _SETTLED_S)
    return Tutorial(work, environment, printed)


def _execute(block: Block, folder: Path, environment: Mapping[str, str]) -> str:
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    if block.language == "python":
        command = [sys.executable, "-c", block.text]
    done = subprocess.run(
        command, cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=_BLOCK_DEADLINE_S
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout
