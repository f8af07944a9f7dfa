"""A real Ray, a real Prometheus with the shipped configuration, and every panel's query."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from itertools import product
from pathlib import Path

import pytest
import ray
from ray.util.metrics import Counter, Gauge

from rollout.watching.metric_names import METRICS, RUN_TAG
from tests.deploy.panels import panels, queries
from tests.places import ROOT

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"),
]

VALUES = {RUN_TAG: ["tiny-1"], "role": ["image", "vlm", "learner"], "phase": ["sample", "learn", "sync"]}
# Depends on what the machine has and on what the autoscaler is doing; the same panels have another query beside these.
MAY_BE_EMPTY = ("ray_node_gpus_utilization", "ray_cluster_")
DEADLINE_S = 240


class Exporter:
    """Sets and counts every metric of the list, as a run would."""

    def __init__(self) -> None:
        kinds = {"gauge": Gauge, "counter": Counter}
        self.series = [(m, kinds[m.kind](m.name, description=m.description, tag_keys=m.tags)) for m in METRICS]

    def tick(self, value: float) -> None:
        for metric, series in self.series:
            for values in product(*(VALUES[tag] for tag in metric.tags)):
                tags = dict(zip(metric.tags, values, strict=True))
                series.set(value, tags=tags) if metric.kind == "gauge" else series.inc(1.0, tags=tags)


@pytest.fixture(scope="module")
def exporter():
    ray.init(address="local", num_cpus=2, include_dashboard=True, dashboard_host="127.0.0.1", log_to_driver=False)
    actor = ray.remote(num_cpus=0)(Exporter).remote()
    yield actor
    ray.shutdown()


@pytest.fixture(scope="module")
def prometheus(exporter, tmp_path_factory):
    """The address of a Prometheus that scrapes this Ray. Only its target file has another path than what is shipped."""
    folder = tmp_path_factory.mktemp("prometheus")
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    text = (ROOT / "deploy" / "grafana" / "prometheus.yml").read_text(encoding="utf-8")
    assert "/tmp/ray/" in text
    (folder / "prometheus.yml").write_text(text.replace("/tmp/ray/", f"{session}/"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    options = [f"--web.listen-address={address}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("w") as log:
        command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", *options]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_ready(f"http://{address}", folder / "log")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_ready(address: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{address}/-/ready", timeout=10):
                return
        except urllib.error.URLError:
            assert time.monotonic() < deadline, f"Prometheus was not ready within 60 s:\n{log.read_text()[-2000:]}"
            time.sleep(1)


def ask(address: str, query: str) -> list:
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def test_every_query_of_every_panel_returns_data(exporter, prometheus):
    waiting = {query for query in queries() if not any(name in query.text for name in MAY_BE_EMPTY)}
    assert {query.panel for query in waiting} == {panel["title"] for panel in panels()}
    deadline = time.monotonic() + DEADLINE_S
    while waiting and time.monotonic() < deadline:
        ray.get(exporter.tick.remote(0.5), timeout=30)
        time.sleep(2)
        waiting = {query for query in waiting if not ask(prometheus, query.filled())}
    assert not waiting, f"no data within {DEADLINE_S} s: {sorted(waiting)}"
    assert {series["value"][1] for series in ask(prometheus, "ray_rlrig_reward_mean")} == {"0.5"}
    memory = ask(prometheus, f'ray_rlrig_gpu_memory_bytes{{{RUN_TAG}="tiny-1"}}')
    assert {series["metric"]["role"] for series in memory} == set(VALUES["role"])
    for metric in METRICS:
        assert ask(prometheus, metric.series), f"{metric.series} is not exported by that name"
