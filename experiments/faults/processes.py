"""Processes of this machine that belong together, and their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import psutil

from presets.errors import RunFailed

_END_S = 20.0
_LOOK_S = 0.1


def bearing(name: str, value: str) -> list[psutil.Process]:
    """Every process that inherited `name=value` in its environment, however it was started and whoever its parent is
    now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended, or is not ours
            if process.environ().get(name) == value:
                found.append(process)
    return running(found)


def title(process: psutil.Process) -> str:
    """What a process calls itself, or its command line; empty where it has ended."""
    with suppress(psutil.NoSuchProcess):  # also one that its parent has not waited for
        return " ".join(process.cmdline())
    return ""


def family(pid: int) -> list[psutil.Process]:
    """A process and everything that it started, as far as it still runs; empty where the process has ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return running([process, *process.children(recursive=True)])
    return []


def running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; one that its parent has not waited for has."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_all(find: Callable[[], Sequence[psutil.Process]], deadline_s: float = _END_S) -> None:
    """Kill what `find` finds until it finds nothing: one that is being ended may have just started another.

    Raises:
        RunFailed: some are still there after `deadline_s` seconds.
    """
    ends = time.monotonic() + deadline_s
    while processes := find():
        if time.monotonic() > ends:
            raise RunFailed(f"still there after {deadline_s:g} s: {', '.join(map(_said, processes))}")
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(_LOOK_S)  # not psutil's wait: it would take an exit code that a Popen waits for


def _said(process: psutil.Process) -> str:
    return f"{process.pid} ({title(process)[:80]})"
