"""What Prometheus would read from a real Ray while a run says how it goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

import psutil
import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from experiments.faults.processes import family
from presets.settings import RayConfig
from rollout.local_ray import ray_for_run
from rollout.watching.live_metrics import WAITS, LiveMetrics
from rollout.watching.metric_names import METRICS, RUN_TAG
from tests.places import ROOT

pytestmark = pytest.mark.engines
SCRAPED_S = 90.0
A_COMMAND = """
import json, sys, time
from presets.settings import RayConfig
from rollout.local_ray import only_ray_of_process, ray_for_run
from rollout.watching.live_metrics import LiveMetrics
from tests.rollout.watching.test_live_metrics import RECORD, scraped

config = RayConfig(num_cpus=1, object_store_gib=0.25)
with only_ray_of_process(config), ray_for_run(config):
    live, seen, ends = LiveMetrics("run-y"), [], time.monotonic() + float(sys.argv[1])
    for update in (1, 2, 3):
        live.update({**RECORD, "update": update, "restarts": update, "replaced": 0})
        value = None
        while value != update and time.monotonic() < ends:
            time.sleep(1.0)
            value = scraped("run-y").get(("ray_rlrig_update", frozenset()))
        seen.append(value)
    print(json.dumps([*seen, scraped("run-y").get(("ray_rlrig_restarts_total", frozenset()))]))
"""
RECORD = {
    "update": 3,
    "reward_mean": 0.5,
    "reward_std": 0.25,
    "truth_mean": 0.4,
    "groups": 7,
    "groups_dropped": 0,
    "rejected": {"black image": 2},
    "staleness": {"max": 1.0, "mean": 0.5},
    "logprob_mismatch": 1e-6,
    "seconds": {"draw": 1.5, "sync": 0.75},
    "actor_version": 4,
    "editor_version": 0,
    "restarts": 1,
    "replaced": 1,
    "answer_tokens": 640,
    "images": 90,
    "workers": {"editor": 2, "actor": 1},
    "gpu_bytes": {"editor": 3 << 30, "learner": 5 << 30},
}


OFTEN = {"RAY_metrics_report_interval_ms": "1000"}  # else every 10 s


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OFTEN.items():
            patch.setenv(name, value)
        with ray_for_run(RayConfig(num_cpus=1, object_store_gib=0.25)):
            yield


def scraped(run: str) -> dict[tuple[str, frozenset], float]:
    """Every series of the run by name and its other rlrig tags, as the node's metrics agent gives them."""
    (node,) = ray.nodes()
    with urllib.request.urlopen(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, frozenset((key, sample.labels[key]) for key in ("role", "phase") if key in sample.labels)): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get(RUN_TAG) == run
    }


def test_every_metric_reaches_prometheus_with_its_value_and_the_name_of_the_run():
    live = LiveMetrics("run-x")
    live.phase("rollout")
    live.prompts(3, 2)
    live.workers({"editor": 1, "diffuser": 3}, {"editor": 5, "diffuser": 3})
    live.phase("learn")
    live.update(RECORD)
    live.update({**RECORD, "update": 4, "reward_mean": None, "restarts": 3})
    found: dict = {}
    ends = time.monotonic() + SCRAPED_S
    wanted = {metric.series for metric in METRICS} - {"ray_rlrig_groups_dropped_total"}  # none was dropped
    while not wanted <= {name for name, _ in found} or found.get(("ray_rlrig_update", frozenset())) != 4:
        assert time.monotonic() < ends, f"not scraped: {wanted - {name for name, _ in found}}"
        time.sleep(1.0)
        found = scraped("run-x")
    plain = {name.removeprefix("ray_rlrig_"): value for (name, tags), value in found.items() if not tags}
    assert plain["reward_mean"] == 0.5
    assert plain["groups_total"] == 14
    assert plain["restarts_total"] == 4  # 1 + 1, then 2 more restarts
    assert plain["rejected_samples_total"] == 4
    assert plain["answer_tokens_total"] == 1280
    assert (plain["backlog_prompts"], plain["prompts_in_flight"]) == (3, 2)
    assert found["ray_rlrig_phase_seconds", frozenset({("phase", "draw")})] == 1.5
    assert found["ray_rlrig_gpu_memory_bytes", frozenset({("role", "learner")})] == 5 << 30
    assert {
        role: found["ray_rlrig_workers", frozenset({("role", role)})] for role in ("editor", "actor", "diffuser")
    } == {
        "editor": 2,
        "actor": 1,
        "diffuser": 3,
    }
    assert found["ray_rlrig_workers_wanted", frozenset({("role", "editor")})] == 5
    phase_of = {
        role: [
            dict(tags)["phase"]
            for (name, tags), value in found.items()
            if name == "ray_rlrig_phase" and ("role", role) in tags and value == 1
        ]
        for role in ("driver", "learner", "env_runner", "editor")
    }
    assert phase_of == {"driver": ["learn"], "learner": ["update"], "env_runner": ["sample"], "editor": [WAITS]}


def test_ray_of_a_run_listens_on_loopback_alone():
    @ray.remote(num_cpus=0)
    class Worker:
        def pid(self) -> int:
            return os.getpid()

    worker = Worker.remote()
    assert ray.get(worker.pid.remote(), timeout=60) in {one.pid for one in family(os.getpid())}
    listens = set()
    for process in family(os.getpid()):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            connections = process.net_connections(kind="inet")
            listens |= {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
    assert listens <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert listens
    ray.kill(worker)


def test_the_metrics_of_a_command_s_own_ray_follow_its_updates():
    done = subprocess.run(
        [sys.executable, "-c", A_COMMAND, str(SCRAPED_S)],
        cwd=ROOT,
        env={**os.environ, **OFTEN},
        capture_output=True,
        text=True,
        timeout=3 * SCRAPED_S,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [1, 2, 3, 3]
