"""The slowest tests of several pytest runs, all of them together.

As a plugin (`-p tests.slowest`) it adds a line for each test to the file that `TEST_TIMES` names; run as
`python -m tests.slowest FILE`, it prints the table of such a file.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SHOWN = 10
_seconds: defaultdict[str, float] = defaultdict(float)  # by test: set-up, call and what cleans up after it


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[report.nodeid] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):  # a worker of xdist, whose reports the main process has, too
        return
    with Path(os.environ["TEST_TIMES"]).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps([name, seconds]) + "\n" for name, seconds in _seconds.items())


def table(seconds: Mapping[str, float]) -> str:
    """The slowest tests, the slowest first, then how many there were and their seconds."""
    slowest = sorted(seconds, key=lambda name: -seconds[name])[:SHOWN]
    rows = [f"{seconds[name]:9.1f} s  {name}" for name in slowest]
    return "\n".join([*rows, f"{sum(seconds.values()):9.1f} s  in all {len(seconds)} tests"])


def read(file: Path) -> Mapping[str, float]:
    """Seconds by test; one that was run again counts with both."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for line in file.read_text(encoding="utf-8").splitlines():
        name, spent = json.loads(line)
        seconds[name] += spent
    return seconds


if __name__ == "__main__":
    print(f"The {SHOWN} slowest tests:\n{table(read(Path(sys.argv[1])))}")
