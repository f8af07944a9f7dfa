"""`rlrig status` on folders, on a URI, and against an HTTP server that answers as Ray's dashboard does."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports.status.reader import status_of
from rlrig.cli import app
from rlrig.cluster.job_progress import FOLDER_KEY, metadata_of
from rlrig.run_folder import RunFolder
from rlrig.run_watch import RunWatch
from rollout.progress import Progress
from tests.reports.synthetic_run import write_run

TOKEN = "a" * 64
runner = CliRunner()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)


def status_json(*arguments: str) -> dict:
    result = runner.invoke(app, ["status", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_a_finished_run_is_shown_with_its_curve_versions_and_evaluations(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs" / "mine")
    (folder / "summary.json").write_text(
        json.dumps({"minutes": 2.0, "before": {"sg_iou": 0.4}, "after": {"sg_iou": 0.6}})
    )
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(text.replace('"groups_dropped": 0', '"groups_dropped": 3', 1))
    result = runner.invoke(app, ["status", "--run", str(folder)])
    assert result.exit_code == 0, result.output
    for expected in (
        "mine",
        "finished",
        "8 of 8",
        "▁",
        "█",
        "s an update",
        "actor 4, editor 4",
        "6 % of the groups (no signal)",
        "+0.200",
    ):
        assert expected in result.output


def test_the_newest_run_is_taken_where_none_is_named(tmp_path: Path) -> None:
    old, new = (write_run(tmp_path / "runs" / name, updates=1) for name in ("old", "new"))
    for folder, seconds in ((old, 1_000), (new, 2_000)):
        for file in folder.iterdir():
            os.utime(file, (seconds, seconds))
    shown = status_json()
    assert (shown["event"], shown["run"]["run"]) == ("status", "new")


def test_a_run_that_is_going_on_says_its_phase_and_one_without_an_update_says_so(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    (folder.path / "config.yaml").write_text("stages: [{stage: actor, updates: 4}]")
    progress = Progress()
    progress.start("run", [("actor", 4)])
    with RunWatch(folder, progress, 0, {}), progress.phase("rollout"):
        result = runner.invoke(app, ["status", "--run", str(folder.path)])
        shown = status_json("--run", str(folder.path))["run"]
    assert result.exit_code == 0, result.output
    for expected in ("running", "0 of 4", "no update yet", "nothing went wrong"):
        assert expected in result.output
    assert re.search(r"rollout for \d+:\d\d", result.output)
    assert (shown["state"], shown["phase"], shown["updates"], shown["total_updates"]) == ("running", "rollout", 0, 4)


def test_a_run_kept_at_a_uri_is_read_from_there(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "kept", updates=3)
    assert status_json("--run", f"file://{folder}")["run"]["updates"] == 6


def test_watching_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    (folder.path / "config.yaml").write_text("stages: [{stage: actor, updates: 4}]")
    watch = RunWatch(folder, Progress(), 0, {})
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            watch.__exit__(None, None, None)

    watch.__enter__()
    monkeypatch.setattr("rlrig.status_cli.time.sleep", wait)
    result = runner.invoke(app, ["status", "--json", "--watch", "7", "--run", str(folder.path)])
    states = [json.loads(line)["run"]["state"] for line in result.stdout.splitlines()]
    assert states == ["running", "running", "finished"]
    assert waits == [7.0, 7.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "runs/ holds no run"),
        (["--run", "nowhere"], "--run nowhere: holds no config.yaml; give the folder of a run"),
        (["--run", "odd://x/y"], "--run odd://x/y: neither pyarrow nor fsspec knows it"),
        (["--address", "localhost:8265"], "--address localhost:8265: write http://HOST:8265"),
    ],
)
def test_what_cannot_be_shown_is_one_message_and_exit_2(arguments: list[str], message: str) -> None:
    result = runner.invoke(app, ["status", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def job(name: str, state: str = "RUNNING", **more: object) -> dict:
    return {
        "type": "SUBMISSION",
        "submission_id": name,
        "status": state,
        "entrypoint": "python -m rlrig.cli train presets/tiny/run.yaml --out x",
        "message": "Job is currently running.",
        "start_time": 1_700_000_000_000,
        "metadata": {},
        **more,
    }


@contextmanager
def dashboard(jobs: list[dict], token: str | None = None) -> Iterator[str]:
    """The address of a server that answers what the Job API answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if token and self.headers.get("Authorization") != f"Bearer {token}":
                sent = "missing" if self.headers.get("Authorization") is None else "wrong"
                code, body = (401, b"Unauthorized: Missing") if sent == "missing" else (403, b"Forbidden: Invalid")
            elif self.path == "/api/version":
                code, body = 200, json.dumps({"ray_version": "2.60.0", "version": "4"}).encode()
            else:
                code, body = 200, json.dumps(jobs).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def running(updates: int, started: float = 5.0) -> dict[str, str]:
    lines = [{"update": n, "stage": "actor", "reward_mean": n / 10, "seconds": {"learn": 2.0}} for n in range(updates)]
    made = status_of("run-x", lines, None, {}, 8)
    told = {"state": "running", "phase": "learn", "phase_since": time.time(), "at": time.time(), "started": started}
    return metadata_of(made.model_copy(update=told), "/on/the/head/run-x")


def test_the_runs_of_a_cluster_are_shown_from_their_jobs_and_other_jobs_are_not() -> None:
    jobs = [
        job("rlrig-2", metadata={"rlrig_out": "s3://b/run-x", **running(3)}, start_time=1_700_000_100_000),
        job("rlrig-1", "PENDING", message="Job has not started yet."),
        job("other", entrypoint="python serve.py"),
    ]
    with dashboard(jobs) as address:
        shown = status_json("--address", address)
        result = runner.invoke(app, ["status", "--address", address])
    assert (shown["address"], [one["job"] for one in shown["jobs"]]) == (address, ["rlrig-1", "rlrig-2"])
    assert shown["jobs"][0]["run"] is None
    assert shown["jobs"][1]["run"]["reward"]["values"] == [0.0, 0.1, 0.2]
    assert (shown["jobs"][1]["source"], shown["jobs"][1]["out"]) == ("job", "s3://b/run-x")
    for expected in (
        "job rlrig-1",
        "pending",
        "has said nothing yet: Job has not started yet.",
        "3 of 8",
    ):
        assert expected in result.output
    assert re.search(r"actor, learn for \d+:\d\d", result.output)


def test_the_run_s_folder_is_read_where_it_lies_here_and_is_the_same_run(tmp_path: Path) -> None:
    folder = RunFolder(write_run(tmp_path / "run-x", updates=2))
    watch = RunWatch(folder, Progress(), 0, {}, clock=lambda: 77.0)
    with watch:
        here = {FOLDER_KEY: str(folder.path)}
        jobs = [job("same", metadata=running(3, 77.0) | here), job("another", metadata=running(3, 78.0) | here)]
        with dashboard(jobs) as address:
            same, another = status_json("--address", address)["jobs"]
    assert (same["source"], same["run"]["updates"]) == ("folder", 4)
    assert (another["source"], another["run"]["updates"]) == ("job", 3)


def test_one_run_of_several_is_chosen_and_its_curves_come_from_where_it_is_kept(tmp_path: Path) -> None:
    kept = write_run(tmp_path / "run-x", updates=2)
    jobs = [job("mine", metadata=running(3)), job("not-mine", metadata={"rlrig_out": "s3://b/run-y"})]
    with dashboard(jobs) as address:
        (only,) = status_json("--address", address, "--run", f"file://{kept}")["jobs"]
        wrong = runner.invoke(app, ["status", "--address", address, "--run", "runs/run-z"])
    assert (only["job"], only["source"], only["run"]["updates"]) == ("mine", "folder", 4)
    assert wrong.exit_code == 2
    assert "no job of the cluster is this run; its runs are: run-x, run-y" in wrong.stderr


def test_a_job_that_was_killed_does_not_go_on_running() -> None:
    with dashboard([job("rlrig-1", "FAILED", metadata=running(3))]) as address:
        (only,) = status_json("--address", address, "--watch", "1")["jobs"]
    assert (only["job_status"], only["run"]["state"]) == ("FAILED", "lost")


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([], "no job of this cluster is a run; start one with"),
        ([job("x", entrypoint="ls")], "is a run; it has 1 others"),
    ],
)
def test_a_cluster_without_runs_says_so(jobs: list[dict], message: str) -> None:
    with dashboard(jobs) as address:
        result = runner.invoke(app, ["status", "--address", address])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_wrong_address_and_a_wrong_token_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = runner.invoke(app, ["status", "--address", f"http://127.0.0.1:{taken.getsockname()[1]}"])
    assert nobody.exit_code == 2
    assert "no Ray dashboard answers there" in nobody.stderr
    with dashboard([job("rlrig-1", metadata=running(1))], TOKEN) as address:
        for token in (None, "b" * 64):
            if token:
                monkeypatch.setenv("RAY_AUTH_TOKEN", token)
            refused = runner.invoke(app, ["status", "--address", address])
            assert refused.exit_code == 2
            assert "put its token into RAY_AUTH_TOKEN" in refused.stderr
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        assert status_json("--address", address)["jobs"][0]["job"] == "rlrig-1"
