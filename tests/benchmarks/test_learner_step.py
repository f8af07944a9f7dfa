import pytest

from benchmarks.clock import Seconds
from benchmarks.learner_step import median, parts_table, ways_table


def test_medians_are_taken_part_by_part():
    runs = [{"a": Seconds(wall, cpu)} for wall, cpu in ((1.0, 5.0), (9.0, 1.0), (2.0, 3.0))]
    assert median(runs) == {"a": Seconds(2.0, 3.0)}


def test_ratios_are_to_the_plain_loop():
    ways = {
        "plain loop": {"backward": Seconds(1.5, 1.0), "clip and AdamW": Seconds(0.5, 1.0)},
        "LearnerRank": {"backward": Seconds(2.5, 2.2)},
    }
    columns = [list(column.cells) for column in ways_table("t", ways).columns]
    assert columns[0] == ["plain loop", "LearnerRank"]
    assert columns[3] == ["1.000", "1.250"]
    assert columns[4] == ["1.000", "1.100"]


def test_what_a_part_adds_is_in_per_cent_of_the_plain_update():
    plain = {"forward and loss": Seconds(1, 1.0), "backward": Seconds(1, 3.0)}
    rank = {"forward and loss": Seconds(1, 1.0), "backward": Seconds(1, 3.2), "checksums": Seconds(0.1, 0.1)}
    table = parts_table(plain, rank)
    added = dict(zip(table.columns[0].cells, table.columns[3].cells, strict=True))
    assert added["backward"] == "+5.0"
    assert added["checksums"] == "+2.5"
    assert sum(float(value) for value in added.values()) == pytest.approx(7.5)
