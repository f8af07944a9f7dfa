import json
import shutil
from pathlib import Path

import pytest

from presets.errors import BadInput
from reports.reading.metrics import read_metrics
from reports.run_record import read_run
from tests.reports.synthetic_run import write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "synthetic", updates=2)


def test_a_whole_run_misses_nothing(run: Path) -> None:
    record = read_run(run)
    assert (record.name, record.planned, record.finished) == ("synthetic", 4, True)
    assert (record.missing, record.damaged) == ([], [])
    assert record.last_updates == {"actor": 1, "editor": 3}
    assert sorted(record.held_out) == ["after", "before"]


def test_half_a_line_is_told_and_left_out(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 4, "sta')
    lines, faults = read_metrics(run / "metrics.jsonl")
    assert len(lines) == 4
    (fault,) = faults
    assert fault.startswith("metrics.jsonl, line 5: not a JSON object, left out (broken JSON: ")
    assert read_run(run).damaged == faults


def test_a_run_that_was_cut_off_says_where(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text(lines[0] + "\n")
    (run / "summary.json").write_text(json.dumps({"before": {"sg_iou": 0.4}, "diffuser": {"sg_iou": 0.3}}))
    missing = read_run(run).missing
    assert "The run was cut off, or still goes on: 1 of 4 updates are there." in missing
    assert "There is no held-out evaluation after training." in missing


def test_each_part_that_is_missing_is_named(run: Path) -> None:
    shutil.rmtree(run / "trajectories")
    (run / "held_out" / "after.parquet").unlink()
    missing = read_run(run).missing
    assert any("There are no trajectories" in text for text in missing)
    assert any("missing for after: these means have no interval" in text for text in missing)
    (run / "summary.json").write_text("{}")
    (run / "config.yaml").write_text("evaluation: {prompts: 0}\n")
    assert any("evaluation.prompts is 0" in text for text in read_run(run).missing)
    (run / "config.yaml").unlink()
    assert "config.yaml is missing: what was asked for is not known." in read_run(run).missing


def test_trajectories_of_some_updates_may_be_missing(run: Path) -> None:
    (run / "trajectories" / "00001.parquet").unlink()
    assert "The trajectories of 1 updates are missing: these have no interval." in read_run(run).missing


def test_what_is_damaged_is_named(run: Path) -> None:
    (run / "summary.json").write_text("{")
    (run / "config.yaml").write_text("stages: [")
    (run / "held_out" / "before.parquet").write_bytes(b"x")
    damaged = " ".join(read_run(run).damaged)
    for part in ("summary.json is left out", "config.yaml is left out", "held_out/before.parquet is left out"):
        assert part in damaged


def test_a_run_without_an_update_is_a_run_and_an_empty_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("seed: 1\n")
    assert read_run(tmp_path / "begun").missing[0].startswith("No update was finished")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"empty: holds neither config\.yaml nor metrics\.jsonl nor trajectories"):
        read_run(tmp_path / "empty")
    with pytest.raises(BadInput, match=r"nowhere: there is no such folder; give the folder of a run"):
        read_run(tmp_path / "nowhere")
