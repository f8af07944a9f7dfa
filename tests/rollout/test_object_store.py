import os
import signal
import time

import numpy as np
import pytest
import ray

from rollout.object_store import object_store_bytes
from tests.local_cluster import eventually, local_ray

pytestmark = pytest.mark.engines
MIB = 1 << 20
TOLD_S = 30.0


def holds(mib: int) -> None:
    eventually("MiB in the store", lambda: object_store_bytes() // MIB, mib, TOLD_S)


def test_the_store_says_what_lies_in_it_while_a_worker_hangs():
    class Maker:
        def make(self) -> np.ndarray:
            return np.ones(20 * MIB, np.uint8)

        def pid(self) -> int:
            return os.getpid()

    with local_ray(1, store_mib=200):
        assert object_store_bytes() == 0
        kept = ray.put(np.zeros(50 * MIB, np.uint8))
        holds(50)
        maker = ray.remote(Maker).remote()
        made = maker.make.remote()
        ray.wait([made], timeout=60)
        holds(70)
        pid = ray.get(maker.pid.remote(), timeout=60)
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert 70 * MIB <= object_store_bytes() <= 71 * MIB
            assert time.monotonic() - began < 2.0
        finally:
            os.kill(pid, signal.SIGCONT)
        del made
        holds(50)
        del kept
        eventually("bytes in the store", object_store_bytes, 0, TOLD_S)
