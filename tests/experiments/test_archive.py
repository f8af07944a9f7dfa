from __future__ import annotations

from pathlib import Path

import pytest

from experiments.archive import Archive
from experiments.rows import write_rows
from presets.errors import BadInput
from tests.experiments.synthetic_rows import arm_rows

SYNTH = arm_rows("RL-RIG raw", 0.5, count=5)


def test_rows_and_records_come_back(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "rows")
    assert archive.rows("RL-RIG-0-two_three", "a") is None
    assert archive.run("stages-seed0", "a") is None
    archive.keep_rows("RL-RIG-0-two_three", SYNTH, "a")
    archive.keep_run("stages-seed0", "a", {"minutes": 1.5, "trends": []})
    assert archive.rows("RL-RIG-0-two_three", "a") == SYNTH
    assert archive.run("stages-seed0", "a") == {"made_from": "a", "minutes": 1.5, "trends": []}


def test_what_was_made_from_something_else_is_refused_by_name(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.keep_rows("cell", SYNTH, "a")
    archive.keep_run("run", "a", {})
    with pytest.raises(BadInput, match=r"cell\.parquet: was made with other settings.*--rows"):
        archive.rows("cell", "b")
    with pytest.raises(BadInput, match=r"run\.json: was made with other settings"):
        archive.run("run", "b")


def test_rows_of_unknown_making_and_damaged_files_are_refused(tmp_path: Path) -> None:
    write_rows(SYNTH, tmp_path / "cell.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match="was made with other settings"):
        Archive(tmp_path).rows("cell", "a")
    with pytest.raises(BadInput, match=r"broken\.parquet"):
        Archive(tmp_path).rows("broken", "a")
