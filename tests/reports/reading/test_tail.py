import json

from reports.reading.tail import MetricsTail


def line(update, **more):
    return json.dumps({"update": update, "stage": "actor", "reward_mean": 0.5, **more}) + "\n"


def test_only_what_was_added_is_read_and_half_a_line_waits(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tail = MetricsTail(path)
    assert tail.read() == ([], [])
    path.write_text(line(0) + line(1)[:20])
    assert [one["update"] for one in tail.read()[0]] == [0]
    path.write_text(line(0) + line(1))
    assert [one["update"] for one in tail.read()[0]] == [0, 1]
    with path.open("a") as file:
        file.write(line(2))
    assert [one["update"] for one in tail.read()[0]] == [0, 1, 2]


def test_a_file_that_was_cut_off_and_grew_again_is_read_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tail = MetricsTail(path)
    path.write_text("".join(line(k) for k in range(4)))
    assert len(tail.read()[0]) == 4
    path.write_text("".join(line(k, reward_mean=0.75) for k in range(6)))
    assert [one["reward_mean"] for one in tail.read()[0]] == [0.75] * 6
    path.write_text(line(0))
    assert len(tail.read()[0]) == 1
    path.unlink()
    assert tail.read() == ([], [])


def test_damaged_lines_are_left_out_and_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    bad = ["{", "3", '{"update": "1"}', "\udcff"]
    path.write_bytes((line(0) + "\n".join(bad) + "\n" + line(1)).encode("utf-8", "surrogateescape"))
    lines, faults = MetricsTail(path).read()
    assert [one["update"] for one in lines] == [0, 1]
    assert [fault.split(":")[0] for fault in faults] == [f"metrics.jsonl, line {k}" for k in (2, 3, 4, 5)]


def test_only_numbers_are_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    given = {"truth_mean": None, "seconds": {"draw": 1.5, "edit": "x"}, "weights": {"a": 1}, "learner": [], "kl": 1}
    path.write_text(line(0, **given))
    assert MetricsTail(path).read()[0] == [
        {"update": 0, "stage": "actor", "reward_mean": 0.5, "seconds": {"draw": 1.5}}
    ]


def test_what_measured_the_truth_is_kept_and_nonsense_in_its_place_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    measured = {"truth_by": "detector", "truth_scorer": "owl"}
    path.write_text(line(0, **measured) + line(1, truth_by=3))
    lines, faults = MetricsTail(path).read()
    assert measured.items() <= lines[0].items()
    assert "truth_by" not in lines[1]
    assert ["truth_by is 3, left out" in fault for fault in faults] == [True]
