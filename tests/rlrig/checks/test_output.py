"""What cannot be written to is said before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from presets.errors import BadInput
from presets.run_file import load_config
from rlrig.checks.output import writable_file, writable_folder
from rlrig.cli import app
from rlrig.library.models import Models
from rollout.progress import Progress
from tests.places import PRESET

SAID = "cannot be written to"


def test_a_folder_is_made_and_one_that_cannot_be_is_refused_with_the_flag(tmp_path: Path) -> None:
    assert writable_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    for refused in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/runs")):
        with pytest.raises(BadInput, match=rf"^--out {refused}: {SAID}: .*; choose another folder"):
            writable_folder(refused)


def test_a_file_is_not_made_and_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    assert not writable_file(tmp_path / "new" / "eval.json").exists()
    assert (tmp_path / "new").is_dir()
    with pytest.raises(BadInput, match=r"is a folder; name a file in it"):
        writable_file(tmp_path)


@pytest.mark.parametrize("command", [["train"], ["eval"], ["generate", "red circle left of blue square"]])
def test_commands_look_at_out_first(command: list[str], run_file: Path) -> None:
    preset = ["--preset", str(run_file)] if command[0] == "generate" else [str(run_file)]
    result = CliRunner().invoke(app, [*command, *preset, "--out", "/proc/runs/new"])
    assert result.exit_code == 2
    assert "--out /proc/runs" in result.stderr
    assert SAID in result.stderr


def test_one_episode_needs_one_worker_of_each_kind() -> None:
    config = Models(load_config(PRESET, ["diffuser.workers=3", "editor.max_workers=4"]), Progress()).config
    assert (config.diffuser.workers, config.editor.workers, config.editor.max_workers) == (1, 1, None)
    assert config.editor.steps == load_config(PRESET).editor.steps
