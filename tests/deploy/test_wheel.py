"""A wheel of this code works without a checkout: installed into an environment of its own, used in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.rooms import ROOMS

LARGEST_MIB = 40
Ran = subprocess.CompletedProcess[str]


def ran(command: list[str | Path], folder: Path, **variables: str) -> Ran:
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    return subprocess.run(
        command, cwd=folder, env={**inherited, **variables}, timeout=300, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: what an earlier build left in the checkout would come into the wheel."""
    sources = tmp_path_factory.mktemp("sources")
    for room in (*ROOMS, "tests"):
        shutil.copytree(ROOT / room, sources / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    done = ran([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."], sources)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (sources / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel. The packages that it needs are those of this one, on a path whose
    `.pth` files are not read, so an editable rlrig among them is not found."""
    folder = tmp_path_factory.mktemp("environment")
    assert ran([sys.executable, "-m", "venv", "--without-pip", folder], folder).returncode == 0
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-deps", "--no-index", wheel]
    done = ran(pip, folder)
    assert done.returncode == 0, done.stderr
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "packages.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    assert ran([programs / "python", "-m", "rlrig.checks.torchvision_hook"], folder).returncode == 0
    return programs


@pytest.fixture
def use(installed: Path, tmp_path: Path) -> Callable[..., Ran]:
    """Runs a program of the environment in an empty folder."""
    return lambda program, *arguments: ran([installed / program, *arguments], tmp_path, COLUMNS="200")


def test_the_wheel_holds_the_rooms_with_what_they_read_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    rooms = set(ROOMS) - {"benchmarks"}
    about = next(name for name in names if name.endswith("/WHEEL")).partition("/")[0]
    assert {name.partition("/")[0] for name in names} == {*rooms, about}
    expected = {
        str((Path(folder) / name).relative_to(ROOT))
        for room in rooms
        for folder, _, files in os.walk(ROOT / room, followlinks=True)  # a link becomes what it leads to
        for name in files
        if "__pycache__" not in folder
    }
    assert {name for name in names if not name.startswith(about)} == expected
    assert {"presets/tiny/run.yaml", "presets/tiny/models/judge/model.safetensors"} <= expected
    assert "presets/tiny/trained/models/editor/vae/diffusion_pytorch_model.safetensors" in names
    assert f"{about}/licenses/LICENSE" in names
    assert "License-Expression: Apache-2.0" in metadata
    assert wheel.stat().st_size < LARGEST_MIB << 20


def test_the_code_is_that_of_the_wheel(use: Callable[..., Ran], installed: Path) -> None:
    lines = [f"import {room}; print({room}.__file__)" for room in ROOMS if room != "benchmarks"]
    done = use("python", "-c", "\n".join(lines))
    assert done.returncode == 0, done.stderr
    places = [Path(line) for line in done.stdout.splitlines()]
    assert len(places) == len(ROOMS) - 1
    assert all(place.is_relative_to(installed.parent) for place in places)
    assert use("python", "-c", "import benchmarks").returncode == 1


def test_the_commands_are_there_with_those_of_the_experiments(use: Callable[..., Ran]) -> None:
    done = use("rlrig", "--help")
    assert done.returncode == 0, done.stderr
    for command in ("train", "plan", "doctor", "results", "chaos"):
        assert re.search(rf"^\W*{command}\b", done.stdout, re.MULTILINE), command


def test_the_small_preset_is_planned_and_its_machine_examined(use: Callable[..., Ran], installed: Path) -> None:
    planned = use("rlrig", "plan", "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["roles"]
    examined = use("rlrig", "doctor", "--quick", "--json")
    findings = {one["name"]: one for one in map(json.loads, examined.stdout.splitlines())}
    preset = findings["preset"]
    assert not preset["problem"]
    assert Path(preset["value"]).is_relative_to(installed.parent)
    blocked = any(one["blocks"] for one in findings.values())  # by the machine, which may be too small
    assert examined.returncode == (1 if blocked else 0), examined.stderr


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["rlrig", "plan", "presets/qwen-image-edit.yaml"], 2, "data.path: 'laion_sg.json' is no file"),
        (["rlrig", "plan", "presets/none.yaml"], 2, "the presets are: presets/cluster.yaml"),
        (["rlrig", "pretrain", "measure"], 2, "presets/tiny/models/flux does not exist; name another folder"),
        (["rlrig", "submit", "--address", "http://127.0.0.1:1"], 2, "copy it there, with its models"),
        (["python", "-m", "rlrig.reference", "--write"], 1, "run this in a checkout"),
        (["python", "-m", "studio.api.reference", "--write"], 1, "run this in a checkout"),
    ],
    ids=["large preset", "no preset", "pretrain", "submit", "pages", "page of HTTP"],
)
def test_what_needs_more_than_the_wheel_says_so(
    use: Callable[..., Ran], command: list[str], code: int, says: str
) -> None:
    done = use(*command)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
