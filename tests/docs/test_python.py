"""The page, the notebook and the loop for Python users: their code is run as it stands."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.docs.pages import DOCS, blocks_of, environment_with_rlrig, files_of
from tests.places import ROOT, TINY

PAGE = (DOCS / "python.md").read_text()
BLOCKS = [block for block in blocks_of(PAGE) if block.language == "python" and block.file is None]
ON_RAY = [block for block in BLOCKS if block.mark == "starts Ray"]
NOTEBOOK = json.loads((DOCS / "examples" / "quickstart.ipynb").read_text())
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
LOOP = DOCS / "examples" / "loop.py"
MOST_LINES_OF_LOOP = 80


def shown(cell: str, names: dict[str, Any]) -> Any:
    """What a notebook would show of a cell: the value of its last line, where that is an expression."""
    *before, last = ast.parse(cell).body
    if not isinstance(last, ast.Expr):
        exec(compile(cell, "cell", "exec"), names)
        return None
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_each_block_is_run_or_starts_ray() -> None:
    assert {block.mark for block in BLOCKS} == {None, "starts Ray"}
    assert ["rlrig.Trainer" in block.text for block in ON_RAY] == [True, False, False]
    for block in BLOCKS:
        ast.parse(block.text)


def test_the_blocks_of_the_page_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        if block.mark is None:
            exec(compile(block.text, "docs/python.md", "exec"), names)
    said = capsys.readouterr().out
    assert said.startswith("{'red circle left of blue square': 0.")
    assert "['move blue square right of red circle']\n0 [" in said
    assert "rollout.group_size" in said.splitlines()[-1]
    trace = json.loads((tmp_path / "runs" / "first" / "trace.json").read_text())
    assert [turn["kept"] for turn in trace["turns"]] == [True, True]
    scores = json.loads((tmp_path / "runs" / "scores.json").read_text())
    assert scores["intervals"]["loop"]["sg_iou"]["mean"] == pytest.approx(names["scores"]["loop"]["sg_iou"])


def test_the_cells_of_the_notebook_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    values = [shown(cell, names) for cell in CELLS]
    trained, raw = values[1], values[3]
    assert min(trained.satisfaction.values()) > 0.5 > min(raw.satisfaction.values())
    assert trained._repr_png_().startswith(b"\x89PNG")
    assert values[-1].keys() == {"diffuser", "loop"}
    assert all(0 <= value <= 1 for value in values[-1].values())


def test_the_notebook_is_one_and_holds_no_output() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["metadata"]["language_info"]["name"]) == (4, "python")
    cells = NOTEBOOK["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all((cell["outputs"], cell["execution_count"]) == ([], None) for cell in code)


@pytest.fixture
def loop() -> ModuleType:
    spec = importlib.util.spec_from_file_location("loop", LOOP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_loop_samples_with_what_it_has_learned_and_needs_no_ray(
    loop: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_file(TINY / "models" / "actor" / "model.safetensors")
    changes: list[float] = []
    load_vlm = loop.LocalVlm

    def recorded(role: str, settings: Any) -> Any:
        after = load_file(Path(settings.model) / "model.safetensors")
        changes.append(max(float((after[name] - tensor).abs().max()) for name, tensor in before.items()))
        return load_vlm(role, settings)

    monkeypatch.setattr(loop, "LocalVlm", recorded)
    means = loop.main()
    assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()
    assert len(means) == loop.UPDATES
    assert all(-0.5 <= mean <= 1 for mean in means)
    rate = 8e-5  # of the preset; AdamW's first step changes a weight by as much, the second one adds as much at most
    assert changes[0] == pytest.approx(rate, rel=0.05)
    assert rate < changes[1] < 2.1 * rate


def test_the_loop_is_short() -> None:
    assert len(LOOP.read_text().splitlines()) <= MOST_LINES_OF_LOOP


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_the_examples_are_as_the_repository_writes_code(command: list[str]) -> None:
    ruff = [str(Path(sys.executable).with_name("ruff")), *command, "--no-cache", str(DOCS / "examples")]
    done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.engines
def test_the_trainer_of_the_page_trains_on_its_prompts_with_its_reward(tmp_path: Path) -> None:
    from rollout.trajectory import read_parquet
    from tests.local_cluster import lent_workers

    for name, text in files_of(PAGE).items():
        (tmp_path / name).write_text(text)
    environment = {**environment_with_rlrig(tmp_path / "bin"), **lent_workers()}
    done = subprocess.run(
        [sys.executable, "-c", ON_RAY[0].text],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "update 1/1  actor  reward " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("{'red circle left of blue square': ")
    turns = read_parquet(tmp_path / "runs" / "mine" / "trajectories" / "00000.parquet")
    assert {"; ".join(turn.requirements) for turn in turns} <= {text for text in PAGE.split('"') if "; " in text}
    edited = [turn for turn in turns if turn.image_after is not None]
    assert edited
    assert [turn.reward for turn in edited] == pytest.approx([min(turn.satisfaction_after) for turn in edited])
