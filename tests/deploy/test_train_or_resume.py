import os
import subprocess
from pathlib import Path

import pytest

from tests.places import ROOT

SCRIPT = ROOT / "deploy" / "train_or_resume.sh"


@pytest.fixture
def start(tmp_path: Path):
    """Runs the script with an `rlrig` that writes down its arguments; returns them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "rlrig").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/arguments"\nexit 7\n')
    (folder / "rlrig").chmod(0o755)

    def run(*arguments: str) -> list[str]:
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run([SCRIPT, *arguments], env=environment, timeout=30, capture_output=True, check=False)
        assert done.returncode == 7, done.stderr  # rlrig's own, so that a failed run fails the job
        return (tmp_path / "arguments").read_text().splitlines()

    return run


def checkpoint(out: Path, name: str = "00004") -> None:
    folder = out / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text("{}")


def test_the_first_start_is_a_plain_train(start, tmp_path):
    out = tmp_path / "run"
    assert start(str(out), "preset.yaml", "--set", "seed=3") == [
        "train", "preset.yaml", "--set", "seed=3", "--out", str(out)
    ]  # fmt: skip
    assert not out.exists()


def test_a_later_start_goes_on_from_a_checkpoint(start, tmp_path):
    out = tmp_path / "run"
    checkpoint(out)
    assert start(f"{out}/", "preset.yaml") == ["train", "preset.yaml", "--out", str(out), "--resume"]
    assert (out / "checkpoints" / "00004" / "checkpoint.json").is_file()


def test_a_folder_without_a_whole_checkpoint_is_kept_beside_the_new_one(start, tmp_path):
    out = tmp_path / "run"
    for number in (1, 2):
        (out / "checkpoints" / ".00004.partial").mkdir(parents=True)
        (out / "config.yaml").write_text(f"seed: {number}")
        assert start(str(out), "preset.yaml") == ["train", "preset.yaml", "--out", str(out)]
        assert not out.exists()
        assert (tmp_path / f"run.failed-{number}" / "config.yaml").read_text() == f"seed: {number}"


def test_an_empty_folder_is_used(start, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    assert "--resume" not in start(str(out), "preset.yaml")
    assert list(tmp_path.glob("*failed*")) == []


def test_too_few_arguments_are_refused():
    done = subprocess.run([SCRIPT, "run"], timeout=30, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "train_or_resume.sh OUT PRESET" in done.stderr
