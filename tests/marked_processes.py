"""Processes that a command leaves behind, found by a mark in the environment that they inherit."""

from __future__ import annotations

import psutil


def marked_processes(mark: str) -> list[str]:
    """Command lines of the processes that descend from one with `RLRIG_TEST_MARK=mark`, however they were started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RLRIG_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended, or is not ours
            continue
    return found
