"""What is done to a process from outside: nothing in the system knows of it or helps it."""

from __future__ import annotations

import os
import resource
import signal

import psutil

FAULTS = {
    "kill": "SIGKILL",
    "hang": "SIGSTOP",
    "interrupt": "SIGINT, which Python raises as an exception wherever the process is",
    "memory": "no more address space than the process has, so that its next allocation fails",
}


def injure(process: psutil.Process, fault: str) -> None:
    """Do `fault` to the process.

    Raises:
        ValueError: an unknown fault.
        ProcessLookupError, psutil.NoSuchProcess: the process has ended.
    """
    if fault == "memory":
        size = process.memory_info().vms
        resource.prlimit(process.pid, resource.RLIMIT_AS, (size, size))
        return
    signals = {"kill": signal.SIGKILL, "hang": signal.SIGSTOP, "interrupt": signal.SIGINT}
    if fault not in signals:
        raise ValueError(f"fault: {fault!r} is unknown; it is one of {', '.join(FAULTS)}")
    os.kill(process.pid, signals[fault])
