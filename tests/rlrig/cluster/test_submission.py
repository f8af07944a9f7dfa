"""What is checked before anything is sent, and what is said where no cluster answers."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from presets.errors import BadInput
from presets.run_file import load_config
from rlrig.cli import app
from rlrig.cluster import submission
from rlrig.cluster.package import package_sizes
from rlrig.cluster.submission import Job, check_job, connect
from tests.places import ROOT

REPOSITORY = ROOT
PRESET = Path("presets/tiny/run.yaml")


def test_the_command_survives_the_shell_and_leaves_the_home_to_the_head_node() -> None:
    job = Job(REPOSITORY, PRESET, ("stages=[{stage: actor, updates: 1}]",), "~/rlrig-runs/a b")
    assert job.command(resume=False) == (
        "python -m rlrig.cli train presets/tiny/run.yaml --set 'stages=[{stage: actor, updates: 1}]' "
        "--out ~/'rlrig-runs/a b'"
    )
    bucket = Job(REPOSITORY, PRESET, (), "s3://b/x?scheme=http&region=r")
    assert bucket.command(resume=True) == ("python -m rlrig.cli train --resume --out 's3://b/x?scheme=http&region=r'")


def test_models_that_do_not_travel_are_refused_by_name(tmp_path: Path) -> None:
    config = load_config(REPOSITORY / PRESET)
    check_job(Job(REPOSITORY, PRESET, (), "~/x"), config)
    with pytest.raises(BadInput, match=r"models\.\w+: .* is outside of the working directory"):
        check_job(Job(tmp_path, PRESET, (), "~/x"), config)


def test_what_is_left_out_has_no_size_and_what_is_too_large_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (
        ("runs/old/big.bin", 9_000),
        ("rollout/a.py", 10),
        ("rollout/__pycache__/a.pyc", 500),
        ("w", 70),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    assert package_sizes(tmp_path) == {"rollout": 10, "w": 70}
    monkeypatch.setattr(submission, "GCS_STORAGE_MAX_SIZE", 50)
    config = load_config(REPOSITORY / PRESET)
    on_hub = dict.fromkeys(("flux", "editor", "checker", "actor"), "hf://owner/name")
    config = config.model_copy(update={"models": config.models.model_copy(update=on_hub)})
    with pytest.raises(BadInput, match=r"--working-dir .*largest are w \(0 MiB\), rollout"):
        check_job(Job(tmp_path, PRESET, (), "~/x"), config)


def test_files_that_an_ignore_file_names_are_told_before_the_job_is_sent(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "presets" / "tiny", tmp_path / "presets", ignore=shutil.ignore_patterns("judge"))
    job = Job(tmp_path, Path("presets/run.yaml"), (), "~/x")
    (tmp_path / "own.py").write_text("def reward(*_): return 1.0\n")
    config = load_config(tmp_path / job.preset, ["rollout.reward=own:reward"])
    check_job(job, config)
    (tmp_path / ".gitignore").write_text("*.safetensors\nown.py\n")
    (tmp_path / "presets" / ".rayignore").write_text("run.yaml\n")
    with pytest.raises(BadInput) as error:
        check_job(job, config)
    message = str(error.value)
    assert "models.actor: presets/models/actor/model.safetensors would not travel to the cluster" in message
    assert "rollout.reward: own.py would not travel" in message
    assert "the run file: presets/run.yaml would not travel" in message
    assert "models.flux: presets/models/flux/" in message
    assert "RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1" in message
    assert sum(package_sizes(tmp_path).values()) < 1_000_000


def test_an_address_without_a_cluster_is_bad_input_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(BadInput, match=r"no Ray dashboard answers there: .*ray dashboard cluster\.yaml"):
        connect(address)
    with pytest.raises(BadInput, match=r"--address 127\.0\.0\.1:8265: write http://HOST:8265"):
        connect("127.0.0.1:8265")
    monkeypatch.setenv("RAY_ADDRESS", "http://elsewhere:8265")
    with pytest.raises(BadInput, match="unset RAY_ADDRESS"):
        connect(address)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--resume"], "--resume: say which run with --out"),
        (["--no-wait", "--retries", "2"], "--retries 2: only a job that is waited for"),
        (["--working-dir", "rollout"], "is outside of --working-dir"),
        (["--set", "rollout.group_size=1"], "rollout.group_size"),
    ],
)
def test_bad_input_is_refused_before_the_cluster_is_asked(
    arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    result = CliRunner().invoke(app, ["submit", str(PRESET), "--address", "http://127.0.0.1:1", *arguments])
    assert result.exit_code == 2
    assert expected in " ".join(result.output.split())
