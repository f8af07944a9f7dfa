import os
import sys
import time
from pathlib import Path

import pytest
import ray

from actors.preloaded.start import ForkServer, lent_socket, workers_forked_by
from tests.local_cluster import _shared, local_ray

pytestmark = pytest.mark.engines


@ray.remote(num_cpus=0)
class Worker:
    def seen(self) -> dict:
        import random

        import numpy as np

        return {
            "parent": os.getppid(),
            "group": os.getpgid(0) == os.getpid(),
            "numbers": (random.random(), np.random.rand()),
            "at_start": "fractions" in sys.modules,
            "imports_s": time.process_time(),
            "nice": os.getpriority(os.PRIO_PROCESS, 0),
            "offline": os.environ.get("HF_HUB_OFFLINE"),
        }


@pytest.fixture(scope="module")
def server():
    one = ForkServer({"OMP_NUM_THREADS": "1"}, ["numpy", "fractions", "huggingface_hub"])
    yield one
    one.close()


@pytest.fixture
def forking(server, monkeypatch):
    """A Ray whose workers come from `server`."""
    real = _shared._init
    monkeypatch.setattr(ray, "init", lambda *a, **k: _shared.end() or real(*a, **k))
    with workers_forked_by(server.socket), local_ray(4):
        yield server


def seen_by(*workers) -> list[dict]:
    return ray.get([worker.seen.remote() for worker in workers], timeout=120)


def test_workers_are_forked_and_each_draws_its_own_numbers(forking):
    workers = [Worker.remote() for _ in range(3)]
    seen = seen_by(*workers)
    assert {each["parent"] for each in seen} == {forking.process.pid}
    assert all(each["at_start"] and each["group"] for each in seen)
    assert len({number for each in seen for number in each["numbers"]}) == 6
    offline = Worker.options(runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}}).remote()
    (its,) = seen_by(offline)
    assert (its["parent"], its["offline"]) == (forking.process.pid, "1")


def test_a_worker_of_another_environment_is_a_new_interpreter(forking):
    threads = Worker.options(runtime_env={"env_vars": {"OMP_NUM_THREADS": "2"}}).remote()
    (seen,) = seen_by(threads)
    assert seen["parent"] != forking.process.pid
    assert "its environment differs in OMP_NUM_THREADS" in forking.log.read_text()


def test_without_the_server_workers_start_all_the_same(forking):
    forking.process.kill()
    forking.process.wait(10)
    fresh = Worker.options(runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "NEW": "1"}}).remote()
    (seen,) = seen_by(fresh)
    assert seen["parent"] != forking.process.pid


def children(pid: int) -> list[str]:
    return [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def test_a_server_that_another_process_lends_is_asked_whether_it_would_fork_and_does_not(monkeypatch):
    assert lent_socket({}) is None
    lender = ForkServer({"OMP_NUM_THREADS": "1", "TORCH_LOGS": "x"}, ["fractions"])
    monkeypatch.setenv("RLRIG_PRELOADED", str(lender.socket))
    assert lent_socket({"TORCH_LOGS": "x", "PATH": "/elsewhere"}) == lender.socket
    assert lent_socket({"TORCH_LOGS": "y"}) is None
    assert "its environment differs in TORCH_LOGS" in lender.log.read_text()
    assert children(lender.process.pid) == []
    lender.close()
    assert lent_socket({"TORCH_LOGS": "x"}) is None
