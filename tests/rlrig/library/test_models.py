"""What `rlrig.load` takes, and what its models do; the models are played by a script."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import rlrig
from rlrig.library import models as library
from rollout.progress import Progress
from tests.places import ROOT, TINY
from tests.rollout.scripted_models import ScriptedModels

PROMPT = "red circle left of blue square; green star above red circle"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, bool]]:
    """Configurations that models were opened with, and whether on Ray; `None` where they were closed."""
    calls: list[Any] = []

    @contextmanager
    def scripted(config: Any, on_ray: bool, progress: Progress) -> Iterator[ScriptedModels]:
        calls.append((config, on_ray))
        yield ScriptedModels(threshold=160, first=10, spread=20)
        calls.append(None)

    monkeypatch.setattr(library, "players", scripted)
    return calls


def test_importing_it_loads_no_engine_and_shows_its_names() -> None:
    code = (
        "import rlrig, sys\n"
        "print(sorted({'torch', 'ray', 'numpy', 'pydantic', 'typer'} & set(sys.modules)))\n"
        "print(all(getattr(rlrig, name) for name in rlrig.__all__), 'torch' in sys.modules, 'ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\nTrue False False\n", done.stderr
    with pytest.raises(AttributeError, match="'rlrig' has no attribute 'lode'"):
        rlrig.lode  # noqa: B018


def test_it_takes_trained_models_or_raw_ones(opened: list[Any]) -> None:
    rlrig.load()
    rlrig.load(models="raw", overrides=["rollout.turns=3"])
    rlrig.load(str(TINY / "run.yaml"), on_ray=True)
    (trained, here), (raw, _), (_, on_ray) = opened
    assert Path(trained.models.actor) == TINY / "trained" / "models" / "actor"
    assert Path(raw.models.actor) == TINY / "models" / "actor"
    assert (trained.rollout.turns, raw.rollout.turns) == (2, 3)
    assert (here, on_ray) == (False, True)
    assert (trained.diffuser.workers, trained.editor.workers) == (1, 1)


def test_it_takes_what_a_run_has_trained(opened: list[Any], tmp_path: Path) -> None:
    run = tmp_path / "runs" / "mine"
    (run / "models").mkdir(parents=True)
    (run / "models" / "editor").symlink_to(TINY / "trained" / "models" / "editor")
    (run / "config.yaml").write_text((TINY / "run.yaml").read_text().replace(" models/", f" {TINY}/models/"))
    rlrig.load(run)
    rlrig.load(run, models="raw")
    (trained, _), (raw, _) = opened
    assert Path(trained.models.edits_with) == TINY / "trained" / "models" / "editor"
    assert Path(raw.models.edits_with) == TINY / "models" / "flux"


def test_a_drawing_has_the_image_what_holds_and_the_edits(opened: list[Any], tmp_path: Path) -> None:
    progress = Progress()
    with rlrig.load(progress=progress) as models:
        drawing = models.generate(PROMPT, seed=3)
    assert opened[-1] is None  # closed
    assert progress.notes[0].startswith("first image: 0 of 2")
    assert list(drawing.satisfaction) == ["red circle left of blue square", "green star above red circle"]
    assert (drawing.image.shape, drawing.episode.graph.prompt) == ((64, 64, 3), PROMPT)
    assert len(drawing.edits) == len(drawing.episode.frames) - 1 >= 1
    assert drawing.save(tmp_path / "out")["prompt"] == PROMPT
    assert (tmp_path / "out" / "episode.png").read_bytes() == drawing._repr_png_()
    with pytest.raises(rlrig.BadInput, match="they are closed; load them again"):
        models.generate(PROMPT)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [("red circle", "prompt: "), ("red dragon left of blue square", "prompt: the models do not know 'red dragon'")],
)
def test_a_prompt_that_cannot_be_drawn_is_refused(opened: list[Any], prompt: str, said: str) -> None:
    with pytest.raises(rlrig.BadInput, match=said):
        rlrig.load().generate(prompt)


def test_what_is_not_there_is_refused_before_anything_is_loaded(opened: list[Any], tmp_path: Path) -> None:
    with pytest.raises(rlrig.ConfigError, match="no such run file"):
        rlrig.load("runs/none")
    with pytest.raises(rlrig.BadInput, match=r"holds no config\.yaml"):
        rlrig.load(tmp_path)
    assert opened == []
