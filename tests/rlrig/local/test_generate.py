"""What `rlrig generate` reads before anything starts, with models that know more than the shape world."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from rlrig.cli import app
from tests.places import TINY

runner = CliRunner()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """What the command line handed on to the generation."""
    calls: list[tuple[Any, ...]] = []
    stand_in = ModuleType("rlrig.generation")
    stand_in.generate = lambda *arguments: calls.append(arguments) or {}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    monkeypatch.chdir(tmp_path)
    return calls


GENERAL = ["--set", "data={source: laion_sg, path: none.json}", "--set", "rollout.dialogue=general"]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            "a red fox on top of a wooden table, a lamp behind the table",
            "red fox on top of wooden table; lamp behind table",
        ),
        ("Кот [на] столе", "Кот на столе"),
    ],
)
def test_generate_takes_any_relation_with_models_that_know_more(
    run_file: Path, started: list[tuple[Any, ...]], prompt: str, expected: str
) -> None:
    result = runner.invoke(app, ["generate", prompt, "--preset", str(run_file), *GENERAL])
    assert result.exit_code == 0, result.output
    [(config, graph, *_)] = started
    assert graph.prompt == expected
    assert config.data.path == "none.json"  # which is not read


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("fox jumps fence", "in brackets"),
        ("fox \x1b on log", r"'\x1b' (it is a control character"),
        ("fox on <log>", "'<'"),
    ],
)
def test_generate_refuses_what_is_no_requirement_before_anything_starts(
    run_file: Path, started: list[tuple[Any, ...]], prompt: str, words: str
) -> None:
    result = runner.invoke(app, ["generate", prompt, "--preset", str(run_file), *GENERAL])
    assert result.exit_code == 2
    assert result.stderr.startswith("rlrig: prompt: ")
    assert words in result.stderr
    assert "\x1b" not in result.stderr
    assert started == []
    trained = runner.invoke(app, ["train", str(run_file), *GENERAL])
    assert "data.path: 'none.json' is no file" in trained.stderr  # training reads it


def test_generate_takes_the_models_that_were_trained_unless_others_are_asked_for(
    started: list[tuple[Any, ...]],
) -> None:
    prompt, raw, trained = "red circle left of blue square", TINY / "models", TINY / "trained" / "models"
    own = ["--set", f"models.actor={raw / 'checker'}"]
    for arguments in ([], ["--models", "trained"], ["--models", "raw"], own):
        result = runner.invoke(app, ["generate", prompt, *arguments])
        assert result.exit_code == 0, result.output
        told = "trained models; --models raw takes those that training starts from" in result.output
        assert told == (arguments in ([], ["--models", "trained"]))
    actors = [Path(config.models.actor) for config, *_ in started]
    assert actors == [trained / "actor", trained / "actor", raw / "actor", raw / "checker"]
    editors = [config.models.edits_with for config, *_ in started]
    assert [Path(editor) for editor in editors] == [trained / "editor", trained / "editor", raw / "flux", raw / "flux"]


def test_generate_takes_a_runs_raw_models(started: list[tuple[Any, ...]], run_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(run_file.read_text().replace("models/", f"{tmp_path}/models/"))
    prompt = "red circle left of blue square"
    assert runner.invoke(app, ["generate", prompt, "--run", str(run)]).exit_code == 0
    assert runner.invoke(app, ["generate", prompt, "--run", str(run), "--models", "raw"]).exit_code == 0
    assert [given[2] for given in started] == [run, None]
