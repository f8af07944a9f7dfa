import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.places import ROOT

DEPLOY = ROOT / "deploy"
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


@pytest.mark.parametrize("lock", ["rocm", "aws"])  # that of aws is an addition to another one
def test_an_unknown_lock_is_refused(lock):
    environment = {**os.environ, "LOCK": lock}
    done = subprocess.run(
        [DEPLOY / "setup_venv.sh"], env=environment, timeout=30, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"requirements/{lock}.lock" in done.stderr
    assert "use LOCK=cpu or LOCK=gpu" in done.stderr


STAND_IN_PYTHON = """\
#!/bin/sh
case "$*" in
    -V) echo Python 3.11.9 ;;
    "-m venv --clear "*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
    "-m pip install "*uv.txt) test ! -e "{root}/no-uv" && cp "{root}/uv" "$(dirname "$0")/uv" ;;
    "-m pip install "*) echo "pip $*" >> "{root}/log"; test ! -e "{root}/pip-fails" ;;
    "-m rlrig."*) echo "python $*" >> "{root}/log" ;;
    deploy/pip_sources.py*) exec "{python}" "$@" ;;
esac
"""
STAND_IN_UV = """\
#!/bin/sh
echo "uv $*" >> "{root}/log"
env | grep -E '^(UV_|SSL_CERT_FILE|ALL_PROXY|VIRTUAL_ENV)' > "{root}/environment"
if test -e "{root}/uv-hangs"; then touch "{root}/hanging"; exec sleep 60; fi
if test -e "{root}/no-torch" && echo "$*" | grep -q "torch==" && ! echo "$*" | grep -q extra-index-url; then
    echo "  cause: Because there is no version of torch==1.0 and you require torch==1.0"
    exit 1
fi
test ! -e "{root}/uv-fails"
"""
SECRET = "a-password"
PIP_CONFIGURATION = f"""\
[global]
index-url = https://someone:{SECRET}@packages.example.com/simple
extra-index-url =
    https://one.example.com/simple
    https://two.example.com/simple
cert = /etc/our-authority.pem
constraint = /etc/constraints.txt
"""


class SetUp:
    """`deploy/setup_venv.sh` of a repository of its own, whose Python, pip and uv are stand-ins."""

    def __init__(self, root: Path) -> None:
        self.root, self.repository = root, root / "rl-rig"
        for folder in ("deploy", "requirements"):
            (self.repository / folder).mkdir(parents=True)
        for name in ("setup_venv.sh", "pip_sources.py"):
            shutil.copy(DEPLOY / name, self.repository / "deploy")
        hook = "rlrig/checks/torchvision_hook.py"
        (self.repository / hook).parent.mkdir(parents=True)
        for name, text in (("requirements/cpu.lock", "six==2.0\ntorch==1.0\n"), ("pyproject.toml", ""), (hook, "")):
            (self.repository / name).write_text(text)
        executable(root / "python", STAND_IN_PYTHON.format(root=root, python=sys.executable))
        executable(root / "uv", STAND_IN_UV.format(root=root))
        (root / "pip.conf").write_text(PIP_CONFIGURATION)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(root), "PYTHON": str(root / "python")}
        self.environment |= {"PIP_CONFIG_FILE": str(root / "pip.conf"), "PIP_FIND_LINKS": f"{root} {root}/missing"}

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.repository / "deploy" / "setup_venv.sh"], env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
        )  # fmt: skip

    def __call__(self, *events: str) -> tuple[int, str, list[str]]:
        """Exit code, output and installing commands where these things happen: no-uv, uv-fails, no-torch, pip-fails."""
        for event in events:
            (self.root / event).touch()
        started = self.start()
        output, _ = started.communicate(timeout=300)
        log = self.root / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return started.returncode, output, lines


@pytest.fixture
def set_up(tmp_path: Path) -> SetUp:
    return SetUp(tmp_path)


def test_uv_installs_the_lock_and_a_second_time_changes_nothing(set_up):
    code, output, commands = set_up()
    assert code == 0, output
    assert output.startswith("[set-up ")
    assert "ready: .venv" in output
    uv = "uv pip install --no-deps"
    hook = "python -m rlrig.checks.torchvision_hook"
    assert commands == [f"{uv} torch==1.0", f"{uv} -r requirements/cpu.lock", f"{uv} --no-build-isolation -e .", hook]
    assert f"VIRTUAL_ENV={set_up.repository / '.venv'}" in (set_up.root / "environment").read_text().splitlines()
    assert set_up("no-uv", "pip-fails") == (0, "", [])


@pytest.mark.parametrize(("event", "says"), [("no-uv", "pip cannot get uv"), ("uv-fails", "going on with pip")])
def test_pip_installs_the_lock_where_uv_does_not(set_up, event, says):
    code, output, commands = set_up(event)
    assert code == 0, output
    assert says in output
    by_pip = [command.partition("--no-deps ")[2] for command in commands if command.startswith("pip ")]
    assert by_pip == ["torch==1.0", "-r requirements/cpu.lock", "--no-build-isolation -e ."]


def test_a_set_up_that_failed_names_the_log_and_is_not_taken_for_done(set_up):
    code, output, _ = set_up("no-uv", "pip-fails")
    assert code == 2
    assert "pip failed; the log is .venv/setup.log" in output
    (set_up.root / "pip-fails").unlink()
    assert set_up()[0] == 0


def test_uv_gets_the_sources_that_pip_is_configured_for(set_up):
    code, output, commands = set_up()
    assert code == 0, output
    assert set((set_up.root / "environment").read_text().splitlines()) >= {
        "SSL_CERT_FILE=/etc/our-authority.pem",
        f"UV_DEFAULT_INDEX=https://someone:{SECRET}@packages.example.com/simple",
        f"UV_FIND_LINKS={set_up.root}",
        "UV_INDEX=https://one.example.com/simple https://two.example.com/simple",
        "UV_INDEX_STRATEGY=unsafe-best-match",
    }
    assert SECRET not in output + "".join(commands) + (set_up.repository / ".venv/setup.log").read_text()


def test_torch_comes_from_its_own_index_where_the_sources_lack_it(set_up):
    code, output, commands = set_up("no-torch")
    assert code == 0, output
    assert "the package sources have no torch==1.0" in output
    assert "--extra-index-url https://download.pytorch.org/whl/cpu torch==1.0" in commands[1]
    assert not any(command.startswith("pip ") for command in commands)


def test_packages_are_compiled_where_python_may_not_keep_what_it_compiles(set_up):
    set_up.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    code, output, commands = set_up()
    assert code == 0, output
    assert ["--compile" in command for command in commands] == [False, True, False, False]


def test_an_interrupt_ends_the_installer(set_up):
    (set_up.root / "uv-hangs").touch()
    started = set_up.start()
    deadline = time.monotonic() + 120
    while not (set_up.root / "hanging").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (set_up.root / "hanging").exists()
    os.kill(started.pid, signal.SIGINT)
    started.communicate(timeout=120)  # the installer holds the pipe, so this waits for its end, too
    assert started.returncode == 130
    assert not (set_up.repository / ".venv" / "setup.sha256").exists()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed (Debian: shellcheck)")
def test_shellcheck_finds_nothing():
    scripts = sorted(DEPLOY.glob("*.sh"))
    assert len(scripts) >= 3
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
