"""Processes that a command leaves behind, found by a mark in the environment that they inherit."""

from __future__ import annotations

from contextlib import suppress

import psutil

from experiments.faults.processes import bearing


def marked_processes(mark: str) -> list[str]:
    """Command lines of the processes that descend from one with `RLRIG_TEST_MARK=mark`, however they were started."""
    found = []
    for process in bearing("RLRIG_TEST_MARK", mark):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            found.append(" ".join(process.cmdline()))
    return found
