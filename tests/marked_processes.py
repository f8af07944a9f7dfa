"""Processes that a command leaves behind, found by a mark in the environment that they inherit."""

from __future__ import annotations

from experiments.faults.processes import bearing, title


def marked_processes(mark: str) -> list[str]:
    """Command lines of the processes that descend from one with `RLRIG_TEST_MARK=mark`, however they were started."""
    return [words for process in bearing("RLRIG_TEST_MARK", mark) if (words := title(process))]
