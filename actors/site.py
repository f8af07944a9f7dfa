"""Where a worker process is, and why it ended: what an error must say so that its reader knows where to look."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError, RayTaskError

_STANDARD_ERROR = Path("/proc/self/fd/2")
_WITHOUT_A_WORD = (
    "it ended without a word, as a process does that crashes or that the kernel kills for want of memory: look at the "
    "end of its log and at dmesg; if it was memory, lower the number of workers"
)

# How torch, its CPU kernels, the C++ library, CUDA, the kernel and Python's threads say that memory could not be had.
_NO_MEMORY = (
    "can't allocate memory",
    "could not create a primitive",
    "bad_alloc",
    "out of memory",
    "cannot allocate memory",
    "can't start new thread",
)


@dataclass(frozen=True)
class Site:
    """A process of a Ray worker: the address of its node, its number there, and the file that it writes its log to."""

    node: str
    process: int
    log: str

    def __str__(self) -> str:
        return f"process {self.process} on node {self.node}, log {self.log}"


def this_site() -> Site:
    """Of the process that calls this. Ray lets a worker's standard error end in its log file."""
    log = _STANDARD_ERROR.resolve() if _STANDARD_ERROR.exists() else None
    return Site(ray.util.get_node_ip_address(), os.getpid(), str(log) if log and log.is_file() else "none")


def end_of(error: RayError) -> str:
    """Why a process ended, as far as Ray can tell, and what to do about it."""
    text = str(error)
    if isinstance(error, OutOfMemoryError):
        return "its node ran out of memory and Ray ended it; lower the number of workers, or give the node more memory"
    if "ray.kill" in text or "intentional" in text.lower():
        return "it was ended on purpose (ray.kill)"
    if isinstance(error, ActorUnavailableError):
        return f"it cannot be reached any more; if it has not only lost its network, {_WITHOUT_A_WORD}"
    if lost := re.search(r"node has died[^\n]*\s*the actor's node was ([^\n]+)", text):
        return (
            f"its node was {lost[1]}; see whether that machine is up, has memory left and reaches the head node, "
            "and what stands at the end of its raylet.out"
        )
    if "connection error code 2" in text or "unexpectedly" in text:
        return _WITHOUT_A_WORD
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def last_line(error: Exception) -> str:
    """What a process said, without Ray's traceback before it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def said(error: Exception) -> str:
    """An error with its type and notes, such as the replica that it is from; one line where it comes from another
    process; the logs have the tracebacks."""
    text = last_line(error) if isinstance(error, RayTaskError) else f"{type(error).__name__}: {error}"
    return "; ".join([text, *getattr(error, "__notes__", ())])


def lacks_memory(error: BaseException) -> bool:
    """Whether an error of a process says that it could not get memory, by its type or in a library's words."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)
