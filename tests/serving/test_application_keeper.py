"""A driver that is killed on a cluster that lives on, with Serve applications of a few lines."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest
import ray
from ray import serve

from benchmarks.elastic_run import live_actors
from benchmarks.local_autoscaler import LocalAutoscaler
from serving.application_keeper import ApplicationKeeper, _Keeper, ended_jobs
from tests.local_cluster import eventually
from tests.places import ROOT

END_S = 180.0
DRIVER = """
import sys, time
import ray
from ray import serve
from serving.application_keeper import ApplicationKeeper

ray.init(address=sys.argv[1], log_to_driver=False)
names = sys.argv[2].split(",")
keeper = ApplicationKeeper.start(names, 60)

@serve.deployment(ray_actor_options={"num_cpus": 1})
class Vlm:
    def answer(self):
        return "here"

serve.start(proxy_location="Disabled")
for name in names:
    serve.run(Vlm.bind(), name=name, route_prefix=None)
if sys.argv[3] == "known":
    keeper.watch_these()
print("deployed", flush=True)
time.sleep(600)
"""


def test_an_application_is_the_run_s_own_only_if_it_was_deployed_by_it():
    keeper = object.__new__(_Keeper)
    keeper._since, keeper._deployed = 1000.0, None  # it was killed before it could say when
    assert keeper._is_ours("actor", 1010.0, ended=1020.0)
    assert not keeper._is_ours("actor", 1030.0, ended=1020.0)
    assert not keeper._is_ours("actor", 900.0, ended=1020.0)
    keeper._deployed = {"actor": 1010.0}
    assert keeper._is_ours("actor", 1010.0, ended=1020.0)
    assert not keeper._is_ours("actor", 1015.0, ended=1020.0)
    assert not keeper._is_ours("checker", 1010.0, ended=1020.0)


@pytest.fixture(scope="module")
def cluster():
    with LocalAutoscaler({"CPU": 1}, {"CPU": 1}, most=3, environment={"PYTHONPATH": str(ROOT)}) as found:
        ray.init(address=found.address, log_to_driver=False)
        yield found
        ray.shutdown()


@pytest.fixture
def driver(cluster):
    started = []

    def start(names: str, known: str) -> subprocess.Popen:
        command = [sys.executable, "-c", DRIVER, cluster.address, names, known]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
        started.append(process)
        assert select.select([process.stdout], [], [], END_S)[0], f"{names}: not deployed within {END_S:g} s"
        assert process.stdout.readline().strip() == "deployed"
        return process

    yield start
    for process in started:
        kill(process)


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=END_S)


def nodes() -> int:
    return sum(node["Alive"] for node in ray.nodes())


@pytest.mark.engines
@pytest.mark.long
@pytest.mark.parametrize("known", ["known", "unknown"])
def test_nothing_of_a_run_is_left_when_its_driver_is_killed_and_its_nodes_go(driver, known):
    run = driver("actor,checker", known)
    assert nodes() >= 2
    kill(run)
    eventually("actors of any job and of none", live_actors, [], END_S)
    eventually("nodes", nodes, 1, END_S)


@pytest.mark.engines
@pytest.mark.long
def test_what_another_run_has_deployed_stays_and_its_names_are_free_when_it_begins(driver):
    other = driver("other", "known")
    run = driver("actor,checker", "known")
    before = set(ended_jobs())
    kill(run)
    eventually("jobs that ended", lambda: len(set(ended_jobs()) - before), 1, END_S)
    keeper = ApplicationKeeper.start(["actor"], END_S)
    assert set(serve.status().applications) == {"other"}
    assert serve.get_app_handle("other").answer.remote().result(timeout_s=END_S) == "here"
    keeper.close()
    kill(other)
    eventually("actors of any job and of none", live_actors, [], END_S)
