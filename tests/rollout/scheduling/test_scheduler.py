import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.scheduling.assignment import Outcome
from rollout.scheduling.scheduler import Scheduler
from rollout.scheduling.staleness import Backpressure, CounterError

DEADLINE = 100.0


def scheduler_with(batch=2, max_staleness=1, concurrency=64, workers=4, slots=1):
    gate = Backpressure(batch=batch, max_staleness=max_staleness, concurrency=concurrency)
    scheduler = Scheduler(gate, deadline_s=DEADLINE)
    for worker in range(workers):
        scheduler.add_worker(worker, slots)
    return scheduler


def prompts_of(batch):
    return [group.prompt.number for group in batch.groups]


@given(
    order=st.lists(st.integers(0, 10**6), min_size=20, max_size=120),
    dropped=st.sets(st.integers(0, 40)),
    batch=st.integers(1, 5),
    slots=st.integers(1, 3),
)
def test_without_staleness_the_batches_are_those_of_the_synchronous_order_whatever_the_timing(
    order, dropped, batch, slots
):
    scheduler = scheduler_with(batch=batch, max_staleness=0, workers=2, slots=slots)
    open_ones, batches = {}, []
    for step in order:
        open_ones |= {assignment.ticket: assignment for assignment in scheduler.dispatch(0.0)}
        ticket = sorted(open_ones)[step % len(open_ones)]
        number = open_ones.pop(ticket).prompt.number
        if step % 7 == 0:
            scheduler.failed(ticket)
        else:
            scheduler.finished(ticket, None, dropped=number in dropped)
        if scheduler.ready:
            assert not open_ones
            assert not scheduler.dispatch(0.0)
            batches.append(prompts_of(scheduler.take_batch()))
            scheduler.trained()
    kept = [number for number in range(len(order) + 40) if number not in dropped]
    assert batches == [kept[k * batch : (k + 1) * batch] for k in range(len(batches))]


def test_what_a_worker_that_is_taken_away_held_starts_again_and_is_no_failed_attempt():
    scheduler = scheduler_with(batch=4, max_staleness=0, workers=2, slots=2)
    held = {assignment.prompt.number: assignment for assignment in scheduler.dispatch(0.0)}
    scheduler.close_worker(0)
    assert scheduler.dispatch(0.0) == []
    scheduler.failed(held[0].ticket, blameless=True)  # it had not begun that one
    assert held[0].worker == held[2].worker == 0
    scheduler.finished(held[1].ticket, None)
    (again,) = scheduler.dispatch(0.0)
    assert (again.prompt, again.worker) == (held[0].prompt, 1)
    scheduler.remove_worker(0, blameless=True)
    scheduler.finished(held[3].ticket, None)
    (other,) = scheduler.dispatch(0.0)
    assert (other.prompt, other.worker) == (held[2].prompt, 1)
    assert scheduler.finished(held[2].ticket, None) is Outcome.REVOKED
    for assignment in (again, other):
        scheduler.finished(assignment.ticket, None)
    assert prompts_of(scheduler.take_batch()) == [0, 1, 2, 3]


def test_a_group_is_settled_once_no_other_can_come_before_it():
    scheduler = scheduler_with(batch=3, max_staleness=0)
    tickets = [assignment.ticket for assignment in scheduler.dispatch(0.0)]
    told = []
    for position, dropped in ((2, False), (0, True), (1, False)):
        scheduler.finished(tickets[position], None, dropped=dropped)
        told.append([group.prompt.number for group in scheduler.settled()])
    assert told == [[], [], [1, 2]]
    (replacement,) = scheduler.dispatch(0.0)
    assert scheduler.settled() == []
    scheduler.finished(replacement.ticket, None)
    assert [group.prompt.number for group in scheduler.settled()] == [3]
    assert prompts_of(scheduler.take_batch()) == [1, 2, 3]


def test_with_staleness_only_groups_of_the_oldest_version_are_settled_as_they_come():
    scheduler = scheduler_with(batch=2, max_staleness=1, workers=4)
    old = [assignment.ticket for assignment in scheduler.dispatch(0.0)]
    scheduler.finished(old[3], None)
    assert [group.prompt.number for group in scheduler.settled()] == [3]
    scheduler.finished(old[0], None)
    assert prompts_of(scheduler.take_batch()) == [0, 3]
    scheduler.trained()
    new = [assignment.ticket for assignment in scheduler.dispatch(0.0)]
    scheduler.finished(new[0], None)
    assert scheduler.settled() == []  # one of version 0 can still come before it
    scheduler.finished(old[1], None)
    assert [group.prompt.number for group in scheduler.settled()] == [1]


def test_the_first_complete_are_trained_on_first():
    scheduler = scheduler_with(workers=4)
    tickets = [assignment.ticket for assignment in scheduler.dispatch(0.0)]
    for ticket in (3, 1, 0):
        scheduler.finished(tickets[ticket], ticket)
    assert prompts_of(scheduler.take_batch()) == [1, 3]
    scheduler.trained()
    scheduler.finished(tickets[2], 2)
    assert prompts_of(scheduler.take_batch()) == [0, 2]


def test_an_older_version_goes_before_a_newer_one_that_was_complete_earlier():
    scheduler = scheduler_with(workers=4)
    scheduler.dispatch(0.0)
    for ticket in (0, 1):
        scheduler.finished(ticket, None)
    scheduler.take_batch()
    scheduler.trained()
    assert [assignment.ticket for assignment in scheduler.dispatch(1.0)] == [4, 5]
    for ticket in (4, 5, 3):
        scheduler.finished(ticket, None)
    assert prompts_of(scheduler.take_batch()) == [3, 4]


def test_a_prompt_that_was_overtaken_starts_again_with_the_next_version_and_is_waited_for():
    scheduler = scheduler_with(batch=1, workers=3)

    def begin():
        return [(a.ticket, a.prompt.number, a.version) for a in scheduler.dispatch(0.0)]

    assert begin() == [(0, 0, 0), (1, 1, 0)]
    scheduler.finished(1, None)
    scheduler.take_batch()
    scheduler.trained()
    assert begin() == [(2, 2, 1)]
    scheduler.finished(2, None)
    assert [assignment.prompt.number for assignment in scheduler.take_batch().overtaken] == [0]
    assert scheduler.finished(0, None) is Outcome.REVOKED
    assert begin() == [(3, 3, 1)]
    scheduler.trained()
    assert begin() == [(4, 0, 2)]
    scheduler.finished(3, None)
    assert prompts_of(scheduler.take_batch()) == [3]
    scheduler.trained()
    assert begin() == [(5, 4, 3)]
    scheduler.finished(5, None)
    assert not scheduler.ready
    scheduler.finished(4, None)
    assert scheduler.ready
    batch = scheduler.take_batch()
    assert (prompts_of(batch), batch.groups[0].prompt.attempts, batch.overtaken) == ([0], 1, [])


def test_a_complete_group_for_which_no_update_has_room_in_time_starts_again():
    scheduler = scheduler_with(batch=1, max_staleness=2, workers=3)
    scheduler.dispatch(0.0)
    for ticket in (0, 3):
        scheduler.finished(ticket, None)
        scheduler.take_batch()
        scheduler.trained()
        scheduler.dispatch(0.0)
    scheduler.finished(1, "in time")
    scheduler.finished(2, "too much")
    batch = scheduler.take_batch()
    assert [group.result for group in (*batch.groups, *batch.expired)] == ["in time", "too much"]
    scheduler.trained()
    assert 2 in [assignment.prompt.number for assignment in scheduler.dispatch(0.0)]


def test_a_late_group_keeps_its_slot_until_its_worker_is_rid_of_it():
    scheduler = scheduler_with(workers=1)
    scheduler.dispatch(10.0)
    assert scheduler.late(10.0 + DEADLINE) == []
    (late,) = scheduler.late(10.5 + DEADLINE)
    assert (late.ticket, late.worker, late.started) == (0, 0, 10.0)
    assert scheduler.late(900.0) == scheduler.dispatch(900.0) == []
    scheduler.remove_worker(0)
    scheduler.add_worker("new")
    (again,) = scheduler.dispatch(900.0)
    assert (again.prompt.number, again.prompt.attempts, again.worker) == (0, 1, "new")


def test_what_cannot_be_is_refused():
    scheduler = scheduler_with(workers=1)
    scheduler.dispatch(0.0)
    with pytest.raises(ValueError, match="ticket 9 was never given out; the next one is 1"):
        scheduler.finished(9, None)
    with pytest.raises(CounterError, match="batch is 2: an update cannot consume 0 groups"):
        scheduler.take_batch()
    with pytest.raises(CounterError, match="training is 0"):
        scheduler.trained()
    with pytest.raises(ValueError, match="deadline_s is 0"):
        Scheduler(scheduler.gate, deadline_s=0)


def test_a_state_without_the_results_of_its_groups_is_refused():
    scheduler = scheduler_with()
    scheduler.dispatch(0.0)
    scheduler.finished(1, "kept")
    with pytest.raises(ValueError, match="scheduler state: 1 is missing"):
        Scheduler.from_state(scheduler.state(), {})
    with pytest.raises(ValueError, match="'next_ticket' is missing"):
        Scheduler.from_state({k: v for k, v in scheduler.state().items() if k != "next_ticket"}, {1: "kept"})
    with pytest.raises(ValueError, match="buffered groups by version"):
        Scheduler.from_state(scheduler.state() | {"buffered": []}, {})


def lines_for_each_group(workers):
    """Lines of the scheduler that run for each group, in a run where a tenth of the groups fails."""
    scheduler = scheduler_with(batch=2 * workers, concurrency=workers, workers=workers)
    open_ones, lines, groups = [], 0, 8 * workers

    def trace(frame, event, _):
        nonlocal lines
        lines += event == "line"
        return trace if "rollout" in frame.f_code.co_filename else None

    sys.settrace(trace)
    try:
        for k in range(groups):
            open_ones += [assignment.ticket for assignment in scheduler.dispatch(float(k))]
            ticket = open_ones.pop(len(open_ones) // 2)
            if k % 10 == 0:
                scheduler.failed(ticket)
            else:
                scheduler.finished(ticket, None)
            if scheduler.ready:
                scheduler.take_batch()
                scheduler.trained()
    finally:
        sys.settrace(None)
    return lines / groups


def test_the_cost_of_a_group_does_not_grow_with_the_number_of_workers():
    few, many = lines_for_each_group(8), lines_for_each_group(512)
    assert many <= 1.05 * few
