import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.panels import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
NFS = "files.example.com:/share"


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path):
    """The repository's scripts on a machine whose package manager, mounts and Python environment are stand-ins."""
    repository, commands, home = tmp_path / "rl-rig", tmp_path / "bin", tmp_path / "home"
    for folder in (repository / "deploy", repository / "requirements", commands, home):
        folder.mkdir(parents=True)
    shutil.copy(DEPLOY / "setup_node.sh", repository / "deploy")
    for lock in ("cpu", "gpu"):
        (repository / "requirements" / f"{lock}.lock").touch()
    log = tmp_path / "log"
    note = f'#!/bin/sh\necho "$(basename "$0")" "$@" >> "{log}"\n'
    executable(repository / "deploy" / "setup_venv.sh", note + 'echo "LOCK=$LOCK VENV=$VENV" >> ' + f'"{log}"\n')
    for name in ("apt-get", "g++", "rsync", "mount.nfs4", "cloud-init", "nvidia-smi"):
        executable(commands / name, note)
    executable(commands / "python3.11", "#!/bin/sh\n")  # has its headers and its venv module
    executable(commands / "sudo", '#!/bin/sh\nexec "$@"\n')
    executable(commands / "mountpoint", f'#!/bin/sh\ntest -e "{tmp_path}/mounted"\n')
    executable(commands / "mount", f'{note}touch "{tmp_path}/mounted"\n')
    executable(commands / "tee", f'#!/bin/sh\ncat >> "{tmp_path}/fstab"\n')
    venv = home / "rlrig-venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to(shutil.which("python3"))

    def run(*arguments: str) -> tuple[int, str, list[str]]:
        environment = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "HOME": str(home),
            "RLRIG_RESULTS": str(tmp_path / "share"),
        }
        script = repository / "deploy" / "setup_node.sh"
        done = subprocess.run(
            [script, *arguments], env=environment, timeout=60, capture_output=True, text=True, check=False
        )
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return done.returncode, done.stdout + done.stderr, lines

    run.home, run.root = home, tmp_path
    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "usage"),
        (["gpu"], "usage"),
        (["rocm", "/tmp"], "no requirements/rocm.lock"),
        (["gpu", "fs-CHANGE-ME.efs.us-west-2.amazonaws.com:/"], "your own share"),
        (["gpu", "results"], "HOST:/PATH"),
        (["gpu", "s3://bucket/results"], "an object store is not"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_done(machine, arguments, says):
    code, output, commands = machine(*arguments)
    assert (code, commands) == (2, [])
    assert says in output


def test_a_share_is_mounted_and_found_by_shells(machine):
    code, output, commands = machine("gpu", NFS)
    assert code == 0, output
    share = machine.root / "share"
    assert f"mount {share}" in commands
    assert f"LOCK=gpu VENV={machine.home}/rlrig-venv" in commands
    (entry,) = (machine.root / "fstab").read_text().splitlines()
    assert entry.split()[:3] == [NFS, str(share), "nfs4"]
    assert list(share.iterdir()) == []  # nothing is left of the proof that it can be written to
    shell = 'printf "%s\\n" "$RAY_AUTH_MODE" "$RLRIG_RESULTS" "${PATH%%:*}"'
    read = subprocess.run(
        ["bash", "-c", f'. "{machine.home}/.bashrc"; {shell}'],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert read.stdout.splitlines() == ["token", str(share), f"{machine.home}/rlrig-venv/bin"]


def test_a_second_time_changes_nothing(machine):
    assert machine("gpu", NFS)[0] == 0
    before = (machine.home / ".bashrc").read_text(), (machine.home / ".rlrig_environment").read_text()
    code, output, commands = machine("gpu", NFS)
    assert code == 0, output
    assert not [command for command in commands if command.startswith(("mount ", "apt-get"))]
    assert ((machine.home / ".bashrc").read_text(), (machine.home / ".rlrig_environment").read_text()) == before
    assert len((machine.root / "fstab").read_text().splitlines()) == 1


def test_a_folder_that_is_there_is_used_as_it_is(machine, tmp_path):
    code, output, commands = machine("cpu", str(tmp_path / "own"))
    assert code == 0, output
    assert not [command for command in commands if command.startswith("mount ")]
    assert (tmp_path / "own").is_dir()
    assert f'RLRIG_RESULTS="{tmp_path}/own"' in (machine.home / ".rlrig_environment").read_text()


def test_a_share_that_does_not_answer_is_named(machine, tmp_path):
    executable(tmp_path / "bin" / "mount", "#!/bin/sh\nexit 32\n")
    code, output, _ = machine("gpu", NFS)
    assert code == 2
    assert NFS in output
    assert "2049" in output


def test_an_unknown_lock_is_refused():
    environment = {**os.environ, "LOCK": "rocm"}
    done = subprocess.run(
        [DEPLOY / "setup_venv.sh"], env=environment, timeout=30, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "requirements/rocm.lock" in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed (Debian: shellcheck)")
def test_shellcheck_finds_nothing():
    scripts = sorted(DEPLOY.glob("*.sh"))
    assert len(scripts) >= 3
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
