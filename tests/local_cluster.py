"""A Ray on this machine for the tests of a module, and waiting for what happens in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import ray

from actors.preloaded.enter import SOCKET
from actors.preloaded.start import no_gpu_here, server_of_process, workers_forked_by
from rollout.local_ray import worker_environment
from tests.places import ROOT

_MIB = 1 << 20
_POLL_S = 0.5
_WORKERS = worker_environment(gpu_learner=False)  # that of a run: a Ray that one starts in between shares the server


class _Shared:
    """The Ray that modules use one after another, because starting one takes seconds of both cores. Whoever starts or
    joins another in this process ends it first. Every Ray of this process forks its workers from one fork server."""

    living = False

    def __init__(self) -> None:
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # as `rollout.local_ray` does
        self._init = ray.init
        ray.init = self.init

    def init(self, *arguments: Any, **named: Any) -> Any:
        """`ray.init`, after the end of what is shared."""
        self.end()
        return self._forking(*arguments, **named)

    def _forking(self, *arguments: Any, **named: Any) -> Any:
        with workers_forked_by(server_of_process(_WORKERS).socket) if no_gpu_here() else nullcontext():
            return self._init(*arguments, **named)

    def begin(self) -> None:
        """Make sure that it is there."""
        if self.living and ray.is_initialized():
            return
        _begin(self._forking, 8, 256)
        self.living = True

    def end(self) -> None:
        """End it, if it is there."""
        if self.living:
            self.living = False
            ray.shutdown()


_shared = _Shared()


def lent_workers() -> dict[str, str]:
    """The variable by which a command that a test starts has this process's fork server fork its workers, too: they
    start sooner. They are then no descendants of the command, and do not have its environment in `/proc`."""
    return {SOCKET: str(server_of_process(_WORKERS).socket)} if no_gpu_here() else {}


@contextmanager
def shared_ray() -> Iterator[None]:
    """A Ray with 8 logical CPUs, whose workers find the tests. It stays for the next module: end what you start, and
    hurt nothing but that."""
    _shared.begin()
    yield


@contextmanager
def local_ray(
    num_cpus: int, store_mib: int = 200, environment: Mapping[str, str] | None = None, num_gpus: int = 0
) -> Iterator[None]:
    """A Ray of your own with so many logical CPUs and GPUs, which need not exist, and an object store of so many MiB,
    ended afterwards; `environment` is that of its workers besides."""
    _begin(partial(ray.init, num_gpus=num_gpus), num_cpus, store_mib, **(environment or {}))
    try:
        yield
    finally:
        ray.shutdown()


def _begin(init: Callable[..., Any], num_cpus: int, store_mib: int, **environment: str) -> None:
    init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=store_mib * _MIB,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}},
    )


def step_until(done: Callable[[], Any], step: Callable[[], None], deadline_s: float, said: Any) -> None:
    """Step again and again until it is done; after `deadline_s` seconds the test fails, and shows what was `said`."""
    ends = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < ends, said
        step()


def eventually(what: str, found: Callable[[], Any], wanted: Any, deadline_s: float) -> None:
    """Wait until what is found is what is wanted; after `deadline_s` seconds the test fails, and names both."""
    ends = time.monotonic() + deadline_s
    while (seen := found()) != wanted:
        assert time.monotonic() < ends, f"{what}: {seen}, not {wanted}"
        time.sleep(_POLL_S)
