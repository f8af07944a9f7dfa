"""How long `rlrig train` trains."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from presets.run_file import load_config
from rlrig.cli import app
from tests.places import TINY

TINY_RUN = str(TINY / "run.yaml")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The configurations that were handed on to training."""
    seen: list[Any] = []
    stand_in = ModuleType("rlrig.training")
    stand_in.train = lambda config, *_: seen.append(config)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    monkeypatch.chdir(tmp_path)
    return seen


def updates_of(config: Any) -> list[tuple[str, int]]:
    return [(stage.stage, stage.updates) for stage in config.stages]


def test_updates_are_those_of_all_stages_and_change_nothing_else(trained: list[Any]) -> None:
    for arguments in (["--updates", "6"], ["--updates", "3", "--set", "stages.1.updates=32"], []):
        result = CliRunner().invoke(app, ["train", TINY_RUN, *arguments])
        assert result.exit_code == 0, result.output
    short, even, whole = trained
    assert updates_of(short) == [("actor", 4), ("editor", 2)]
    assert short.total_updates == 6
    assert updates_of(even) == [("actor", 2), ("editor", 1)]
    assert whole == load_config(TINY / "run.yaml")
    assert short.model_copy(update={"stages": whole.stages}) == whole


def test_a_run_that_goes_on_gets_more_in_its_last_stage(trained: list[Any], tmp_path: Path) -> None:
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    values = load_config(TINY / "run.yaml").model_dump(mode="json")
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(app, ["train", "--resume", "--out", str(run), "--updates", "60"])
    assert result.exit_code == 0, result.output
    assert updates_of(trained[0]) == [("actor", 32), ("editor", 28)]


def test_no_updates_are_refused(trained: list[Any]) -> None:
    result = CliRunner().invoke(app, ["train", TINY_RUN, "--updates", "0"])
    assert result.exit_code == 2
    assert "--updates" in result.stderr
    assert trained == []
