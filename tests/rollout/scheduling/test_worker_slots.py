import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.scheduling.worker_slots import WorkerSlots


def filled(slots):
    workers = WorkerSlots()
    for name, count in slots.items():
        workers.add(name, count)
    return workers


def test_every_worker_gets_a_first_group_before_any_gets_a_second():
    workers = filled({"a": 2, "b": 1, "c": 3})
    assert [workers.fill(ticket) for ticket in range(6)] == ["a", "b", "c", "a", "c", "c"]
    assert workers.free == 0


def test_a_slot_that_is_left_goes_to_the_worker_with_the_fewest_groups():
    workers = filled({"a": 2, "b": 2})
    for ticket in range(4):
        workers.fill(ticket)
    workers.leave("a", 0)
    workers.leave("b", 1)
    workers.leave("b", 3)
    assert [workers.fill(ticket) for ticket in (4, 5, 6)] == ["b", "a", "b"]


def test_a_removed_worker_takes_its_free_slots_along_and_gives_its_tickets_back():
    workers = filled({"a": 3, "b": 1})
    assert [workers.fill(ticket) for ticket in range(3)] == ["a", "b", "a"]
    assert workers.remove("a") == [0, 2]
    assert (workers.free, len(workers)) == (0, 1)
    workers.add("a", 1)
    assert workers.fill(3) == "a"


def test_a_closed_worker_keeps_its_tickets_and_gets_no_more():
    workers = filled({"a": 3, "b": 1})
    assert [workers.fill(ticket) for ticket in range(3)] == ["a", "b", "a"]
    workers.close("a")
    assert workers.free == 0
    workers.leave("a", 0)
    assert workers.free == 0
    workers.leave("b", 1)
    assert workers.fill(3) == "b"
    assert workers.remove("a") == [2]
    assert (workers.free, len(workers)) == (0, 1)
    workers.add("a", 2)
    assert (workers.fill(4), workers.free) == ("a", 1)
    with pytest.raises(ValueError, match="worker 'c' is not known"):
        workers.close("c")


def test_what_cannot_be_is_refused():
    workers = filled({"a": 1})
    workers.fill(7)
    with pytest.raises(ValueError, match="ticket 8: none of 1 workers has a free slot"):
        workers.fill(8)
    with pytest.raises(ValueError, match="worker 'a' is known already"):
        workers.add("a", 1)
    with pytest.raises(ValueError, match="slots of worker 'b' is 0"):
        workers.add("b", 0)
    with pytest.raises(ValueError, match="worker 'b' is not known"):
        workers.remove("b")
    with pytest.raises(KeyError):
        workers.leave("a", 8)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.lists(st.tuples(st.booleans(), st.integers(0, 99))))
def test_no_worker_ever_holds_more_than_its_slots_or_two_more_than_one_that_has_room(slots, steps):
    workers = filled(dict(enumerate(slots)))
    held = {worker: [] for worker in range(len(slots))}
    for ticket, (fill, choice) in enumerate(steps):
        if fill and workers.free:
            fewest = min(len(held[worker]) for worker in held if len(held[worker]) < slots[worker])
            worker = workers.fill(ticket)
            assert len(held[worker]) == fewest
            held[worker].append(ticket)
        elif busy := [worker for worker in held if held[worker]]:
            worker = busy[choice % len(busy)]
            workers.leave(worker, held[worker].pop(choice % len(held[worker])))
        assert all(len(held[worker]) <= slots[worker] for worker in held)
        assert workers.free == sum(slots) - sum(map(len, held.values()))


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 99))))
def test_closed_workers_have_no_free_slot_whatever_happens(slots, steps):
    workers = filled(dict(enumerate(slots)))
    held, closed = {worker: [] for worker in range(len(slots))}, set()
    for ticket, (step, choice) in enumerate(steps):
        if step == 0 and workers.free:
            worker = workers.fill(ticket)
            assert worker not in closed
            held[worker].append(ticket)
        elif step == 1 and (busy := [worker for worker in held if held[worker]]):
            worker = busy[choice % len(busy)]
            workers.leave(worker, held[worker].pop())
        elif step == 2 and choice % len(slots) not in closed:
            workers.close(choice % len(slots))
            closed.add(choice % len(slots))
        assert workers.free == sum(slots[worker] - len(held[worker]) for worker in held if worker not in closed)
