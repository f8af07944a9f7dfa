"""`rlrig check-family`: what it hands on, and its exit codes."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from rlrig.cli import app

GOOD = {"what": "image and prompt matter", "holds": True, "found": "by 3"}


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for the trial, which loads models: keeps its arguments, and answers `tried["found"]`."""
    from dataclasses import make_dataclass

    promise = make_dataclass("Promise", ["what", "holds", "found"])
    told: dict[str, Any] = {"found": [GOOD]}
    module = ModuleType("measuring.family_contract")

    def try_family(*arguments: Any) -> list[Any]:
        told["arguments"] = arguments
        return [promise(**one) for one in told["found"]]

    module.try_family = try_family  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    return told


def test_the_run_files_model_and_learner_are_tried_with_the_family_that_is_named(tried: dict[str, Any]) -> None:
    result = CliRunner().invoke(app, ["check-family", "own:Editor", "--set", "diffuser.image_size=32", "--json"])
    assert result.exit_code == 0, result.output
    model, learner, size, steps, settings = tried["arguments"]
    assert model.endswith("presets/tiny/models/flux")
    assert (learner.micro_batch > 0, size, steps, settings["family"]) == (True, 32, 4, "own:Editor")
    assert json.loads(result.stdout) == {"event": "result", "holds": True, "promises": [GOOD]}


def test_a_broken_promise_is_the_exit_code_and_the_message(tried: dict[str, Any]) -> None:
    tried["found"] = [GOOD, {"what": "rows are samples", "holds": False, "found": "[red]2 apart"}]
    result = CliRunner().invoke(app, ["check-family"])
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "holds  image and prompt matter: by 3",
        "FAILS  rows are samples: [red]2 apart",
    ]
    assert "the family does not do what rollout and learner need: rows are samples" in result.stderr


def test_what_is_no_class_is_refused(tried: dict[str, Any]) -> None:
    result = CliRunner().invoke(app, ["check-family", "nonsense"])
    assert result.exit_code == 2
    assert "editor.family: 'nonsense' is refused" in result.stderr
    assert "arguments" not in tried
