from pathlib import Path

import pytest

from benchmarks.record_files.__main__ import measured
from benchmarks.record_files.made_records import write_made_records


@pytest.mark.parametrize("name", ["records.json", "records.jsonl"])
def test_every_record_is_read_or_counted(tmp_path: Path, name: str) -> None:
    wrong = write_made_records(tmp_path / name, 1000, odd=0.2, seed=0)
    assert 150 < sum(wrong.values()) < 250
    cost = measured(tmp_path / name)
    assert f"{1000 - sum(wrong.values()):,} of 1,000 records can be used" in cost.notes[0]
    assert all(any(f" {count} left out, {reason};" in note for note in cost.notes) for reason, count in wrong.items())
    assert 0.85 < cost.train / (1000 - sum(wrong.values())) < 0.95
    assert cost.seconds.cpu > 0
    assert cost.draw_us > 0
