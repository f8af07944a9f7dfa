from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reports.held_out import read_held_out, write_held_out

SCORES = {"diffuser": {"sg_iou": {"a": 0.25, "b": 0.5}}, "loop": {"sg_iou": {"a": 1.0}, "turns_used": {"a": 2.0}}}


def test_scores_come_back_as_they_were_written(tmp_path: Path) -> None:
    assert read_held_out(write_held_out(SCORES, tmp_path / "held_out" / "before.parquet")) == (SCORES, [])


def test_another_table_or_no_table_is_refused_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(
        ValueError, match=r"held_out/other\.parquet is left out: it holds the columns x; it is no table"
    ):
        read_held_out(tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    with pytest.raises(ValueError, match=r"broken\.parquet"):
        read_held_out(tmp_path / "broken.parquet")
