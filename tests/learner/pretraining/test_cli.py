"""`rlrig pretrain` says what is missing before it loads what takes seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from learner.pretraining.cli import app


def test_models_that_are_not_there_are_named_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "learner.pretraining.measure", None)  # importing it raises
    monkeypatch.setenv("COLUMNS", "400")  # the message in one line
    done = CliRunner().invoke(app, ["measure", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert f"{tmp_path / 'flux'} does not exist" in done.output
