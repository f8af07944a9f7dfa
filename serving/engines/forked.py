"""Processes that go on from where this one is, so that they need not import again what it has imported.

vLLM starts its engine in a new interpreter, which imports for 13 seconds of computing what the replica has just
imported. On a CPU nothing that a fork would break is in use yet: no CUDA, and no thread that computes.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import popen_fork, util
from multiprocessing.context import ForkContext, ForkProcess
from typing import Any

from ray._raylet import setproctitle

_FDS = "/proc/self/fd"
_PREFIX = "VLLM"
_CRASHES = {-number for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGSEGV)}


class _Popen(popen_fork.Popen):
    """A fork that keeps no connection of its parent. One that it kept open would tell others that the parent lives."""

    def _launch(self, process_obj: Any) -> None:
        parent_reads, child_writes = os.pipe()  # the end of either process is told by its end of a pipe
        child_reads, parent_writes = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                _let_go({0, 1, 2, child_reads, child_writes})
                # vLLM's own way finds no title to change in a process that Ray has named.
                setproctitle(f"{_PREFIX}::{process_obj.name}")
                code = process_obj._bootstrap(parent_sentinel=child_reads)
            finally:
                os._exit(code)
        os.close(child_writes)
        os.close(child_reads)
        self.finalizer = util.Finalize(self, util.close_fds, (parent_reads, parent_writes))  # type: ignore[attr-defined]
        self.sentinel = parent_reads


def _let_go(kept: set[int]) -> None:
    """Leave every file and connection but those kept. Each number leads to nothing afterwards, and is not free: objects
    of the parent that are freed here close it."""
    gc.freeze()  # what the parent's objects do when they are freed is not this process's to do
    signal.set_wakeup_fd(-1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir(_FDS):
        if (number := int(name)) not in kept and number != nothing:
            with suppress(OSError):  # the listing's own
                os.fstat(number)
                os.dup2(nothing, number, inheritable=False)


class _Process(ForkProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> _Popen:
        return _Popen(process_obj)


class Forking(ForkContext):
    """What `multiprocessing.get_context` answers, for these processes. Remembers those that it made."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[_Process] = []

    def Process(self, *arguments: Any, **more: Any) -> _Process:  # type: ignore[override] # its name there
        self.made.append(_Process(*arguments, **more))
        return self.made[-1]

    def give_up(self) -> None:
        """End those that are alive as a crash would: a fork may wait for a lock that a thread of its parent held."""
        for process in self.made:
            with suppress(ProcessLookupError):
                if process.is_alive() and process.pid is not None:
                    os.kill(process.pid, signal.SIGABRT)

    @property
    def broken(self) -> bool:
        """Whether one of them ended as a program does that a fork has broken, not as one that says what is wrong."""
        return any(process.exitcode in _CRASHES for process in self.made)


@contextmanager
def engines_forked(deadline_s: float) -> Iterator[Forking]:
    """Meanwhile, vLLM forks its engine from this process. Engines are given up when it takes `deadline_s` seconds."""
    from vllm.v1.engine import utils

    before, forking = utils.get_mp_context, Forking()
    utils.get_mp_context = lambda: forking
    late = threading.Timer(deadline_s, forking.give_up)
    late.daemon = True
    late.start()
    try:
        yield forking
    finally:
        late.cancel()
        utils.get_mp_context = before


@contextmanager
def models_inspected_here() -> Iterator[None]:
    """Meanwhile, vLLM finds out in this process what a model's class can do, not in a new interpreter that imports for
    9 seconds of computing, which keeps CUDA from being initialised here. A forked engine wants the class anyway."""
    from vllm.model_executor.models import registry

    before = registry._run_in_subprocess
    registry._run_in_subprocess = lambda inspect: inspect()
    try:
        yield
    finally:
        registry._run_in_subprocess = before
