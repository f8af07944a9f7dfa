import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from reports.provenance.starts import STARTS, Start, read_starts, seconds_of, values_by_update


def start(update: int, rate: float, seconds: float | None = None) -> Start:
    return Start(update, {"learner": {"actor": {"learning_rate": rate}}}, seconds)


RATE = "learner.actor.learning_rate"


def test_each_update_has_the_rate_of_the_start_that_made_it() -> None:
    starts = [start(0, 1.0), start(4, 2.0), start(4, 3.0), start(6, 3.0), start(8, 1.0)]
    assert values_by_update(starts, RATE, 10) == [(0, 3, 1.0), (4, 7, 3.0), (8, 9, 1.0)]
    assert values_by_update(starts, RATE, 4) == [(0, 3, 1.0)]
    assert values_by_update([start(0, 1.0)], "learner.nothing.there", 2) == [(0, 1, None)]


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([1.0, 2.0])), max_size=5), st.integers(0, 12))
def test_stretches_are_what_the_starts_did_one_after_the_other(given: list[tuple[int, float]], more: int) -> None:
    starts = [start(0, 1.0), *(start(update, rate) for update, rate in given)]
    updates = max(one.update for one in starts) + more
    truth: dict[int, float] = {}
    for one, rate in [(0, 1.0), *given]:
        truth |= dict.fromkeys(range(one, updates), rate)
    found = values_by_update(starts, RATE, updates)
    assert {number: rate for first, last, rate in found for number in range(first, last + 1)} == truth
    assert all(first <= last for first, last, _ in found)


def test_starts_are_read_with_their_seconds_and_damage_is_named(tmp_path: Path) -> None:
    assert read_starts(tmp_path) == ([], [])
    made = {"code": "rlrig 1"}
    begun = {"update": 0, "began": 1.0, "config": {"seed": 1}, "made_with": made}
    lines = [begun, {"seconds": 5.0}, {"update": 3, "config": {}}]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / STARTS).write_text(text + '\n{"update": \n[]\n')
    starts, faults = read_starts(tmp_path)
    assert starts == [Start(0, {"seed": 1}, 5.0, 1.0, made), Start(3, {})]
    assert [fault.split(":")[0] for fault in faults] == ["starts.jsonl, line 4", "starts.jsonl, line 5"]
    assert seconds_of(starts) is None
    assert seconds_of([start(0, 1.0, 5.0), start(2, 1.0, 2.5)]) == 7.5
    assert seconds_of([]) is None
