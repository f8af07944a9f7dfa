"""Ending processes that start others while they are being ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from experiments.faults.processes import bearing, end_all, family, running, title
from presets.errors import RunFailed

MARK = "RLRIG_TEST_OF_PROCESSES"
# Each generation lives on in a session of its own, so that no parent or session leads to it.
HYDRA = """
import subprocess, sys, time
n = int(sys.argv[1])
time.sleep(0.05)
if n:
    subprocess.Popen([sys.executable, "-S", "-c", sys.argv[2], str(n - 1), sys.argv[2]], start_new_session=True)
time.sleep(60 if n % 2 else 0)
"""


def test_what_is_started_while_others_are_ended_is_ended_too() -> None:
    mark = uuid.uuid4().hex
    command = [sys.executable, "-S", "-c", HYDRA, "7", HYDRA]
    with subprocess.Popen(command, env={**os.environ, MARK: mark}) as first:
        time.sleep(0.2)
        end_all(lambda: bearing(MARK, mark))
        assert first.wait(5) == -9  # its exit code is still its parent's to have
    time.sleep(0.5)
    assert bearing(MARK, mark) == []


def test_what_does_not_end_is_named() -> None:
    mark = uuid.uuid4().hex
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, env={**os.environ, MARK: mark}) as held:
        found = bearing(MARK, mark)
        assert [process.pid for process in found] == [held.pid]
        with pytest.raises(RunFailed, match=rf"still there after 0\.1 s: {held.pid}"):
            end_all(lambda: found, deadline_s=0.1)  # one that is found again and again


def test_a_process_that_has_ended_has_no_title_and_no_family() -> None:
    script = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()']); input({'asked'!r})"
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, bufsize=0) as parent:
        assert parent.stdout is not None
        parent.stdout.read(5)  # it has started its own
        first, child = family(parent.pid)
        assert (first.pid, child.ppid()) == (parent.pid, parent.pid)
        assert title(first) == f"{sys.executable} -c {script}"
        parent.kill()
        while first.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert title(first) == ""  # nobody has waited for it
        assert family(parent.pid) == []
        end_all(lambda: running([child]))
    assert title(first) == ""
