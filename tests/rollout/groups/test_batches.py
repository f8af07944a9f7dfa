from dataclasses import replace

from rollout.groups.batches import rollout_seconds
from rollout.trajectory import TurnSeconds
from tests.rollout.test_trajectory import example

FIRST = TurnSeconds(draw=1.0, reflect=2.0, edit=10.0, check=1.5)
SECOND = replace(FIRST, edit=9.0)
COMPUTED = TurnSeconds(draw=0.5, reflect=1.0, edit=8.0, check=1.0)


def test_the_times_of_a_batch_count_once_and_the_drawing_once_a_job():
    turns = [example(turn=0, member=member, seconds=FIRST, compute_seconds=COMPUTED) for member in range(8)]
    turns += [example(turn=1, member=member, seconds=SECOND, compute_seconds=COMPUTED) for member in range(8)]
    assert rollout_seconds(turns) == {"draw": 1.0, "reflect": 4.0, "edit": 19.0, "check": 3.0}
    assert rollout_seconds(turns, "compute_seconds") == {"draw": 0.5, "reflect": 2.0, "edit": 16.0, "check": 2.0}


def test_batches_of_equal_compute_but_another_wall_clock_are_two():
    other = TurnSeconds(draw=1.25, reflect=2.5, edit=10.5, check=1.75)
    turns = [example(seconds=wall, compute_seconds=COMPUTED) for wall in (FIRST, other)]
    assert rollout_seconds(turns, "compute_seconds") == {"draw": 1.0, "reflect": 2.0, "edit": 16.0, "check": 2.0}


def test_no_turn_took_no_time():
    assert rollout_seconds([]) == {"draw": 0, "reflect": 0, "edit": 0, "check": 0}
