import pytest

from experiments.frontier.costs import Costs
from experiments.frontier.rows import Point, Trace, start_key
from experiments.frontier.systems import Setting

COSTS = Costs(draw={8: 0.05, 24: 0.12}, edit={4: 0.04}, question=0.002, answer=0.005)
KEY = start_key("test", "three", "p-0", 8)


def test_drawings_cost_until_the_first_one_that_holds() -> None:
    points = (Point(0.2, 0, 0.3, 1 / 3), Point(0.5, 0, 0.6, 2 / 3), Point(1.0, 1, 0.9, 1.0))
    trace = Trace(KEY, 3, 9, points)
    two = COSTS.drawings(trace, Setting(2, 8))
    assert (two.sg_iou, two.turns) == (0.5, 0)
    assert two.seconds == pytest.approx(2 * (0.05 + 3 * 0.002))
    assert COSTS.drawings(trace, Setting(9, 8)).seconds == pytest.approx(3 * (0.05 + 3 * 0.002))


def test_turns_cost_an_answer_and_an_edit_with_its_check_where_there_was_one() -> None:
    points = (Point(0.2, 0, 0.3, 0.0), Point(0.2, 0, 0.3, 0.0, 0), Point(0.5, 0, 0.6, 0.5, 1))
    trace = Trace(KEY, 2, 6, points)
    setting = Setting(1, 8, 6, 4)
    loop = COSTS.loop(trace, setting, answered=True)
    assert (loop.sg_iou, loop.turns) == (0.5, 2)
    assert loop.seconds == pytest.approx(2 * 0.005 + 1 * (0.04 + 2 * 0.002))
    assert COSTS.loop(trace, setting, answered=False).seconds == pytest.approx(0.04 + 2 * 0.002)
    assert COSTS.loop(trace, Setting(1, 8, 1, 4), answered=True).seconds == pytest.approx(0.005)


def test_the_least_of_two_measurements_is_taken_call_by_call() -> None:
    other = Costs(draw={8: 0.04, 24: 0.2}, edit={4: 0.05}, question=0.001, answer=0.006)
    assert COSTS.least(other) == Costs(draw={8: 0.04, 24: 0.12}, edit={4: 0.04}, question=0.001, answer=0.005)
