from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

from experiments.faults.injury import injure

WORK = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.01)"
GROW = "import sys\nprint('ready', flush=True)\nsys.stdin.readline()\nlist(bytearray(1 << 30) for _ in range(2))"


@pytest.fixture
def started():
    running: list[subprocess.Popen] = []

    def start(code: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_kill_ends_a_process_at_once(started) -> None:
    process = started(WORK)
    injure(psutil.Process(process.pid), "kill")
    assert process.wait(10) == -signal.SIGKILL


def test_hang_stops_a_process_that_stays(started) -> None:
    process = started(WORK)
    injure(psutil.Process(process.pid), "hang")
    ends = time.monotonic() + 10
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert process.poll() is None


def test_interrupt_raises_inside_the_process(started) -> None:
    process = started("import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" + WORK)
    injure(psutil.Process(process.pid), "interrupt")
    assert "KeyboardInterrupt" in process.communicate(timeout=10)[1]


def test_memory_makes_the_next_large_allocation_fail(started) -> None:
    process = started(GROW)
    injure(psutil.Process(process.pid), "memory")
    _, errors = process.communicate("go\n", timeout=30)
    assert "MemoryError" in errors


def test_an_unknown_fault_is_refused(started) -> None:
    process = started(WORK)
    with pytest.raises(ValueError, match="'tickle' is unknown; it is one of kill"):
        injure(psutil.Process(process.pid), "tickle")
