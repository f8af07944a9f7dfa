"""A Ray on this machine for the tests of a module, and waiting for what happens in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

ROOT = str(Path(__file__).resolve().parents[1])
_MIB = 1 << 20
_POLL_S = 0.5


@contextmanager
def local_ray(num_cpus: int, store_mib: int = 200, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Ray with so many logical CPUs and an object store of so many MiB, ended afterwards; `environment` is that of its
    workers."""
    ray.init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=store_mib * _MIB,
        log_to_driver=False,
        runtime_env={"env_vars": dict(environment or {})},
    )
    try:
        yield
    finally:
        ray.shutdown()


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
