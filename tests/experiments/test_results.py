"""The page from an archive in which everything was measured already: no model is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.archive import Archive
from experiments.cells import arm_cells
from experiments.plan import Plan
from experiments.provenance import Provenance
from experiments.results import make_results
from presets.errors import BadInput
from presets.run_file import dump_config, load_config
from tests.experiments.synthetic_rows import arm_rows
from tests.places import PRESET

JUDGE = PRESET.parent / "models" / "judge"
PLAN = Plan(seeds=(0,), prompts=12, harder=6, sweeps=(), weak_checker=None)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    found, source = Archive(tmp_path / "rows"), Provenance(PRESET, JUDGE)
    for cell in arm_cells(PLAN):
        mean = 0.4 if cell.job is None else 0.6
        rows = arm_rows(cell.arm.name, mean, cell.count, (cell.seed,), cell.prompts)
        found.keep_rows(cell.name, rows, source.of_cell(cell))
    return found


def page(tmp_path: Path, archive: Archive) -> dict:
    work, docs = tmp_path / "work", tmp_path / "docs"
    assert make_results(PLAN, PRESET, JUDGE, work, archive.folder, docs, pytest.fail, train=False) == []
    return json.loads((docs / "results.json").read_text())


def test_what_lies_in_the_archive_makes_the_page_without_a_run(tmp_path: Path, archive: Archive) -> None:
    found = page(tmp_path, archive)
    assert found["facts"]["trends"] == []
    arms = found["arms"]["two_three"]
    assert arms["RL-RIG raw"]["metrics"]["sg_iou"]["mean"] == pytest.approx(0.4, abs=0.01)
    assert arms["RL-RIG"]["metrics"]["sg_iou"]["mean"] == pytest.approx(0.6, abs=0.01)


def test_without_training_the_runs_that_are_done_are_still_recorded(tmp_path: Path, archive: Archive) -> None:
    (job,) = (job for job in PLAN.arm_jobs() if job.name == "editor")
    folder = tmp_path / "work" / job.folder
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(load_config(PRESET, list(job.overrides))))
    (folder / "summary.json").write_text(json.dumps({"models": ["models/editor"], "minutes": 7.5}))
    lines = [
        {"update": n, "stage": "editor", "reward_mean": 0.5 + n / 100, "truth_mean": 0.5 + n / 200} for n in range(16)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = page(tmp_path, archive)
    assert found["facts"]["minutes"]["train"] == 7.5
    assert [(one["run"], one["policy"]) for one in found["facts"]["trends"]] == [("editor-seed0", "editor")]
    assert not (tmp_path / "work" / "stages-seed0").exists()


def test_a_judge_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no model; make one with `rlrig pretrain judge`"):
        make_results(PLAN, PRESET, tmp_path, tmp_path, tmp_path, tmp_path, pytest.fail)
