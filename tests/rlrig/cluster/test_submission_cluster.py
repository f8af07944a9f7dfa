"""A run as a job of a real cluster of three nodes, submitted over HTTP with a token, its results read back from S3."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from experiments.faults.processes import end_all, family
from presets.errors import BadInput, RunFailed
from reports.reading.metrics import read_metrics
from reports.storage import Mirror
from rlrig.cluster.submission import Job, connect, run_job, submit
from tests.places import ROOT
from weights.checksums import tensors_digest
from weights.parts import distinct

pytestmark = pytest.mark.engines
SMALL = (
    "stages=[{stage: actor, updates: 1}]",
    "rollout.turns=1",
    "rollout.prompts_per_update=2",
    "rollout.group_size=4",
    "evaluation.prompts=0",
    "diffuser.workers=1",
    "editor.workers=1",
)
UP_S = 120.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    patch = pytest.MonkeyPatch()
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        patch.delenv(name, raising=False)
    for name, value in {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "a-token-of-this-test-that-is-long-enough",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # the entry point is found as on a node
    }.items():
        patch.setenv(name, value)
    yield patch
    patch.undo()


@pytest.fixture(scope="module")
def bucket(environment: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket="runs")
    yield f"s3://runs/{{}}?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    server.stop()


@pytest.fixture(scope="module")
def cluster(environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the dashboard of a head and two more nodes, each started by `ray start`."""
    logs, port, dashboard = tmp_path_factory.mktemp("nodes"), free_port(), free_port()
    common = ["--block", "--num-cpus=4", "--object-store-memory=300000000", "--disable-usage-stats"]
    # Each node in a folder of its own: there Ray notes which cluster a machine joins, and unpacks a job's working
    # directory, which nodes that share it take from under each other. Sockets want a short path.
    place = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    head = ["--head", f"--port={port}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
    started: list[subprocess.Popen] = []
    try:
        for number, role in enumerate((head, *[[f"--address=127.0.0.1:{port}"]] * 2)):
            with (logs / f"{number}.log").open("w") as log:
                # Every node's agent takes this port, 52365 if it is not told another; without one a head takes no job.
                agent = f"--dashboard-agent-listen-port={free_port()}"
                command = [
                    str(Path(sys.executable).with_name("ray")),
                    "start",
                    *role,
                    *common,
                    agent,
                    f"--temp-dir={place}/{number}",
                ]
                started.append(subprocess.Popen(command, stdout=log, stderr=log))
            wait_for_nodes(f"http://127.0.0.1:{dashboard}", number + 1, logs)
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        end_all(lambda: [one for process in started for one in family(process.pid)])
        shutil.rmtree(place, ignore_errors=True)


def wait_for_nodes(address: str, count: int, logs: Path) -> None:
    ends = time.monotonic() + UP_S
    while True:
        try:
            answer = connect(address)._do_request("GET", "/nodes?view=summary").json()
            if sum(node["raylet"].get("state") == "ALIVE" for node in answer["data"]["summary"]) >= count:
                return
            missing = f"{count} nodes are not up"
        except BadInput as error:
            missing = str(error)
        said = "\n".join(file.read_text()[-500:] for file in logs.iterdir())
        assert time.monotonic() < ends, f"{missing}: {said}"
        time.sleep(1.0)


def test_a_job_trains_on_the_cluster_and_leaves_its_results_in_the_bucket(
    cluster: str, bucket: str, tmp_path: Path
) -> None:
    out, said = bucket.format("first"), []
    job = Job(ROOT, Path("presets/tiny/run.yaml"), SMALL, out)
    client = connect(cluster)
    try:
        name = run_job(client, job, 0, said.append)
    except RunFailed as error:
        pytest.fail(f"{error}\n{''.join(said)[-5000:]}")
    log = "".join(said)
    assert name in log
    assert "report:" in log
    details = client.get_job_info(name)
    assert details.metadata["rlrig_out"] == out
    Mirror(out).pull(tmp_path / "run")
    (line,), _ = read_metrics(tmp_path / "run" / "metrics.jsonl")
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "run" / "models" / "actor")
    assert line["actor_version"] == 1
    assert tensors_digest(distinct(model.state_dict())[0]) == line["weights"]["digest"]
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_job_that_fails_says_why_and_is_retried_from_its_checkpoint(cluster: str, bucket: str) -> None:
    out, said = bucket.format("second"), []
    job = Job(ROOT, Path("presets/tiny/run.yaml"), (*SMALL, "models.actor=nowhere"), out)
    with pytest.raises(RunFailed, match=r"failed: .*--resume --out s3://runs/second"):
        run_job(connect(cluster), job, 1, said.append)
    log = "".join(said)
    assert "models.actor: 'nowhere' is no folder" in log
    assert "retry 1 of 1" in log
    assert "holds no run; start one without --resume" in log  # it never came to a checkpoint


def test_a_wrong_token_is_refused_with_where_to_put_the_right_one(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another-token-that-is-long-enough-too")
    with pytest.raises(BadInput, match=r"refuses the token; put its token into RAY_AUTH_TOKEN"):
        connect(cluster)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    with pytest.raises(BadInput, match=r"refuses the token"):
        connect(cluster)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/no/such/file")
    with pytest.raises(BadInput, match=r"RAY_AUTH_TOKEN_PATH: /no/such/file cannot be read"):
        connect(cluster)


def test_without_waiting_the_name_of_the_job_comes_back_at_once(cluster: str, bucket: str) -> None:
    client = connect(cluster)
    job = Job(ROOT, Path("presets/tiny/run.yaml"), (*SMALL, "models.actor=nowhere"), bucket.format("third"))
    name = submit(client, job, resume=False)
    assert name in {details.submission_id for details in client.list_jobs()}
