"""Continuous integration ends with the slowest tests, and with the exit code of `make test`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.slowest import read, table

TESTS = """\
import time


def test_quick(): pass


def test_slow(): time.sleep(0.3)


def test_failing(): assert False
"""


def test_the_table_has_the_slowest_and_the_sum() -> None:
    seconds = {f"test_{i}": float(i) for i in range(1, 13)}
    lines = table(seconds).splitlines()
    assert lines[0].split() == ["12.0", "s", "test_12"]
    assert len(lines) == 11
    assert lines[-1].split() == ["78.0", "s", "in", "all", "12", "tests"]


def test_runs_of_pytest_are_added(tmp_path: Path) -> None:
    environment = {**os.environ, "TEST_TIMES": str(tmp_path / "times"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for name, workers in (("test_one.py", []), ("test_two.py", ["-n", "2"])):
        (tmp_path / name).write_text(TESTS)
        options = ["-q", "-c", os.devnull, "--rootdir", tmp_path, *workers]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, tmp_path / name],
            timeout=300, capture_output=True, text=True, check=False, cwd=ROOT,
            env={**environment, "PYTEST_ADDOPTS": "-p xdist -p tests.slowest"},
        )  # fmt: skip
        assert done.returncode == 1, done.stdout + done.stderr
    seconds = read(tmp_path / "times")
    assert len(seconds) == 6
    slow = [name for name, spent in seconds.items() if spent >= 0.3]
    assert len([name for name in slow if name.endswith("::test_slow")]) == 2
    assert 0.6 <= sum(seconds.values()) < 60


@pytest.mark.parametrize("code", [0, 2])
def test_continuous_integration_ends_with_the_table_and_the_code_of_make(tmp_path: Path, code: int) -> None:
    """In a repository whose `make` is a stand-in that only writes down one test's time."""
    (tmp_path / "repository" / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / "repository" / ".ci")
    (tmp_path / "repository" / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "slowest.py", tmp_path / "repository" / "tests")
    python = tmp_path / "repository" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    commands = tmp_path / "bin"
    commands.mkdir()
    wants = ("make", "g++", "prometheus", "shellcheck", "chromium")
    texts = dict.fromkeys(wants, "#!/bin/sh\n")
    texts["make"] += (
        f'echo "make $*: $PYTEST_ADDOPTS"\necho \'["tests/a.py::test_b", 2.5]\' >> "$TEST_TIMES"\nexit {code}\n'
    )
    for name, text in texts.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "CI": "true",
        "PYTEST_ADDOPTS": "--color=no",
    }
    done = subprocess.run(
        ["bash", tmp_path / "repository" / ".ci" / "run"], env=environment, timeout=300, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "make test: --color=no -p tests.slowest"
    assert "      2.5 s  tests/a.py::test_b" in lines
    assert lines[-1].startswith(f"make test: exit code {code} after ")
