"""`rlrig ui`: pages of runs, served or written, without an engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from rlrig.cli import app
from tests.reports.synthetic_run import write_run

ENGINES = ("ray", "torch", "transformers", "diffusers", "vllm", "scipy.stats")
READY_CPU_S = 5.0  # about one second is measured; the machine of the tests may be slow


@contextmanager
def shown(*arguments: str, token: str = "") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of `rlrig ui` in a process of its own, which says at its end which engines it has loaded."""
    code = (
        "import sys\n"
        "from rlrig.cli import app\n"
        "try:\n    app(sys.argv[1:], standalone_mode=False)\n"
        f"finally:\n    print([name for name in {ENGINES} if name in sys.modules], flush=True)"
    )
    environment = {**os.environ, "RLRIG_TOKEN": token}
    command = [sys.executable, "-c", code, "ui", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if line.startswith("http://"))
            yield line.partition("/runs;")[0], process
        finally:
            process.kill()


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, trust_env=False, timeout=30)


def test_the_pages_follow_a_run_that_trains_and_no_engine_is_loaded(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "mine"
    write_run(run, updates=2)
    with shown("--runs", str(tmp_path / "runs")) as (url, process):
        spent = sum(map(int, Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        assert spent / os.sysconf("SC_CLK_TCK") < READY_CPU_S
        assert httpx.get(url, trust_env=False).headers["location"] == "/runs"
        assert "Studio" not in get(f"{url}/runs").text
        assert "mine" in get(f"{url}/pages/data/runs").text
        before = get(f"{url}/pages/data/runs/mine")
        assert before.status_code == 200
        last = (run / "metrics.jsonl").read_text().splitlines()[-1]
        with (run / "metrics.jsonl").open("a") as file:
            line = {**json.loads(last), "update": json.loads(last)["update"] + 1}
            file.write(json.dumps(line) + "\n")
        after = get(f"{url}/pages/data/runs/mine")
        assert after.text != before.text
        assert get(f"{url}/pages/data/runs/mine/groups").status_code == 200
        assert get(f"{url}/v1/models").status_code == 404
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert output.splitlines()[-1] == "[]"


def test_a_token_guards_what_the_pages_show(tmp_path: Path) -> None:
    write_run(tmp_path / "mine", updates=1, prompts=1)
    token = "a-token-of-enough-characters"
    with shown("--runs", str(tmp_path), token=token) as (url, _):
        assert get(f"{url}/pages/data/runs").status_code == 401
        assert get(f"{url}/pages/data/runs", Authorization=f"Bearer {token}").status_code == 200
        assert "mine" not in get(f"{url}/runs").text
        assert get(f"{url}/runs", **{"X-Long": "x" * 200_000}).status_code == 431


def test_beyond_this_machine_a_token_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLRIG_TOKEN", raising=False)
    refused = CliRunner().invoke(app, ["ui", "--runs", str(tmp_path), "--host", "0.0.0.0"])
    assert refused.exit_code == 2
    assert "RLRIG_TOKEN" in refused.stderr


def test_the_pages_of_a_run_are_written_and_named(tmp_path: Path) -> None:
    write_run(tmp_path / "run", updates=2)
    result = CliRunner().invoke(
        app, ["ui", "--write", str(tmp_path / "run"), "--out", str(tmp_path / "site"), "--updates", "1"]
    )
    assert result.exit_code == 0
    assert result.stdout.strip() == str(tmp_path / "site" / "index.html")
    assert sorted(path.name for path in (tmp_path / "site").glob("groups-*")) == [
        "groups-00001.html",
        "groups-00003.html",
    ]


def test_without_out_they_lie_in_the_run(tmp_path: Path) -> None:
    write_run(tmp_path / "run", updates=1, prompts=1)
    assert CliRunner().invoke(app, ["ui", "--write", str(tmp_path / "run")]).exit_code == 0
    assert (tmp_path / "run" / "pages" / "studio.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--write", "{0}"], "RUN"),
        (["--write", "{0}", "--port", "1"], "--port: has no meaning with --write"),
        (["--out", "{0}"], "--out: goes with --write RUN only"),
        (["--updates", "2"], "--updates: goes with --write RUN only"),
    ],
)
def test_what_cannot_be_shown_is_bad_input(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["ui", *(one.format(tmp_path) for one in arguments)])
    assert result.exit_code == 2
    assert told in result.stderr
