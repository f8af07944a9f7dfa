"""The house as `docs/architecture.md` promises it: imports run down, nothing goes in a circle, rooms and files stay
small."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.rooms import ROOMS

MOST_LINES_OF_A_ROOM, MOST_LINES_OF_A_FILE, MOST_FILES_OF_A_FOLDER = 5600, 300, 20
FOUR = ("actors", "learner", "rollout", "serving")
PLANTED = {
    "in a function": "\n\ndef planted():\n    from rlrig.cli import app\n\n    return app\n",
    "under TYPE_CHECKING": "\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from rlrig.cli import app\n",
}


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """`lint-imports` over the rooms of a folder."""
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([command, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The rooms' code and the contract, to be spoilt."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=lambda folder, names: [
            name for name in names if not name.endswith(".py") and not (Path(folder) / name / "__init__.py").is_file()
        ])  # fmt: skip
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_run_down_and_in_no_circle() -> None:
    done = linted(ROOT)
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("where", PLANTED)
def test_an_import_that_runs_up_is_found_with_its_line(copy: Path, where: str) -> None:
    with (copy / "scenes" / "png.py").open("a", encoding="utf-8") as file:
        file.write(PLANTED[where])
    done = linted(copy)
    assert done.returncode == 1
    assert "scenes.png -> rlrig.cli (l." in done.stdout


def test_a_circle_of_files_is_found(copy: Path) -> None:
    with (copy / "scenes" / "scene_graph.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef planted():\n    from scenes.laion_sg import load_records\n\n    return load_records\n")
    done = linted(copy)
    assert done.returncode == 1
    assert "No cycles are allowed in scenes" in done.stdout


def test_every_package_is_a_room_and_the_four_are_there() -> None:
    found = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests"}
    assert found == set(ROOMS)
    assert set(FOUR) <= found


def test_rooms_files_and_folders_stay_small() -> None:
    lines = {file: len(file.read_text(encoding="utf-8").splitlines())
             for folder in (*ROOMS, "tests") for file in (ROOT / folder).rglob("*.py")}  # fmt: skip
    rooms = {room: sum(n for file, n in lines.items() if file.is_relative_to(ROOT / room)) for room in ROOMS}
    assert {room: n for room, n in rooms.items() if n > MOST_LINES_OF_A_ROOM} == {}
    assert {str(file.relative_to(ROOT)): n for file, n in lines.items() if n > MOST_LINES_OF_A_FILE} == {}
    folders = {file.parent: [other for other in file.parent.iterdir() if other.is_file()] for file in lines}
    assert {str(folder): len(files) for folder, files in folders.items() if len(files) > MOST_FILES_OF_A_FOLDER} == {}
