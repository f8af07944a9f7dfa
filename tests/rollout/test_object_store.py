import os
import signal
import time

import numpy as np
import pytest
import ray

from rollout.object_store import object_store_bytes
from tests.local_cluster import local_ray

pytestmark = pytest.mark.engines
MIB = 1 << 20
TOLD_S = 30.0


def until(least: int, most: int) -> int:
    """What lies in the store, once it is within these bounds."""
    ends = time.monotonic() + TOLD_S
    while not least <= (seen := object_store_bytes()) <= most:
        assert time.monotonic() < ends, f"{seen} bytes, not {least} to {most}"
        time.sleep(0.1)
    return seen


def test_the_store_says_what_lies_in_it_while_a_worker_hangs():
    class Maker:
        def make(self) -> np.ndarray:
            return np.ones(20 * MIB, np.uint8)

        def pid(self) -> int:
            return os.getpid()

    with local_ray(1, store_mib=200):
        assert object_store_bytes() == 0
        kept = ray.put(np.zeros(50 * MIB, np.uint8))
        until(50 * MIB, 51 * MIB)
        maker = ray.remote(Maker).remote()
        made = maker.make.remote()
        ray.wait([made], timeout=60)
        until(70 * MIB, 71 * MIB)
        pid = ray.get(maker.pid.remote(), timeout=60)
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert 70 * MIB <= object_store_bytes() <= 71 * MIB
            assert time.monotonic() - began < 2.0
        finally:
            os.kill(pid, signal.SIGCONT)
        del made
        until(50 * MIB, 51 * MIB)
        del kept
        until(0, 0)
