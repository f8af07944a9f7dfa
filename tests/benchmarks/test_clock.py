import time
from types import SimpleNamespace

import pytest

from benchmarks.clock import Clock, Seconds, total


def test_a_part_inside_another_counts_for_itself_only(monkeypatch):
    readings = iter([Seconds(10, 1), Seconds(13, 2), Seconds(19, 6), Seconds(20, 7)])
    monkeypatch.setattr(Seconds, "now", lambda: next(readings))
    clock = Clock()
    with clock.part("outer"), clock.part("inner"):
        pass
    assert clock.take() == {"inner": Seconds(6, 4), "outer": Seconds(4, 2)}
    assert clock.take() == {}


def test_cpu_seconds_do_not_count_sleep():
    clock = Clock()
    with clock.part("sleep"):
        time.sleep(0.05)
    with clock.part("work"):
        sum(range(2_000_000))
    parts = clock.take()
    assert parts["sleep"].cpu < 0.02
    assert parts["work"].cpu > 0.01
    assert total(parts).wall == pytest.approx(parts["sleep"].wall + parts["work"].wall)


def test_watched_calls_add_up_and_pass_through():
    clock, owner = Clock(), SimpleNamespace(double=lambda x: 2 * x)
    clock.watch(owner, "double", "doubling")
    assert [owner.double(value) for value in (1, 2)] == [2, 4]
    assert list(clock.parts) == ["doubling"]


def test_a_part_that_fails_is_counted_and_leaves_the_clock_usable():
    clock = Clock()
    with pytest.raises(KeyError), clock.part("a"), clock.part("b"):
        raise KeyError
    with clock.part("a"):
        pass
    assert set(clock.take()) == {"a", "b"}
    assert Seconds(1, 2) + Seconds(3, 4) - Seconds(1, 1) == Seconds(3, 5)
