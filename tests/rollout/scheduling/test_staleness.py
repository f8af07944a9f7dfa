import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.scheduling.staleness import Backpressure, CounterError


class Truth:
    """A list of groups, by which the counters are measured."""

    def __init__(self, chance, gate):
        self.chance, self.gate = chance, gate
        self.running, self.pending, self.training = [], [], []
        self.version = self.trained_on = 0

    def walk(self, steps):
        events = {self.start: 5, self.finish: 10, self.update: 6, self.load: 0.3, self.lose_all_processes: 0.1}
        for event in self.chance.choices(list(events), list(events.values()), k=steps):
            event()
            self.check()

    def check(self):
        accepted = self.trained_on + len(self.training) + len(self.pending)
        by_age = (self.gate.max_staleness + self.version + 1) * self.gate.batch - (accepted + len(self.running))
        assert self.gate.capacity() == min(self.gate.concurrency - len(self.running), by_age) >= 0
        assert (self.gate.accepted, self.gate.running) == (accepted, len(self.running))
        assert (self.gate.pending, self.gate.training) == (len(self.pending), len(self.training))
        can_update = not self.training and len(self.pending) >= self.gate.batch
        assert self.running or self.training or can_update or self.gate.capacity() > 0, "something can always happen"

    def start(self):
        count = self.chance.randint(0, self.gate.capacity())
        assert self.gate.start(count) == self.version
        self.running += [self.version] * count

    def finish(self):
        if self.running:
            version = self.running.pop(self.chance.randrange(len(self.running)))
            end = self.chance.choice(["accept", "accept", "accept", "accept", "drop", "fail"])
            getattr(self.gate, end)(version)
            if end == "accept":
                self.pending.append(version)

    def update(self):
        if self.training:
            self.version += 1
            assert self.gate.bump_version() == self.version
            self.trained_on += len(self.training)
            self.training = []
        elif len(self.pending) >= self.gate.batch:
            self.chance.shuffle(self.pending)
            self.training, rest = self.pending[: self.gate.batch], self.pending[self.gate.batch :]
            assert all(0 <= self.version - version <= self.gate.max_staleness for version in self.training)
            expired = self.gate.consume(self.training)
            too_old = self.version - self.gate.max_staleness
            assert (expired.running, expired.pending) == (self.running.count(too_old), rest.count(too_old))
            self.running = [version for version in self.running if version > too_old]
            self.pending = [version for version in rest if version > too_old]

    def load(self):
        self.gate = Backpressure.from_state(json.loads(json.dumps(self.gate.state())))

    def lose_all_processes(self):
        self.gate = self.gate.without_processes()
        self.pending += self.training
        self.running, self.training = [], []


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(0, 200),
    batch=st.integers(1, 5),
    max_staleness=st.integers(0, 3),
    concurrency=st.integers(1, 12),
)
def test_in_any_order_of_events_the_capacity_is_that_of_the_design_and_nothing_gets_stuck(
    seed, steps, batch, max_staleness, concurrency
):
    gate = Backpressure(batch=batch, max_staleness=max_staleness, concurrency=concurrency)
    Truth(random.Random(seed), gate).walk(steps)


def gate_with(batch=2, max_staleness=1, concurrency=8):
    return Backpressure(batch=batch, max_staleness=max_staleness, concurrency=concurrency)


def test_on_policy_starts_one_batch_and_no_more_until_the_update_is_complete():
    gate = gate_with(max_staleness=0)
    assert gate.capacity() == 2
    gate.start(2)
    gate.accept(0)
    gate.accept(0)
    assert gate.capacity() == 0
    gate.consume([0, 0])
    assert gate.capacity() == 0
    gate.bump_version()
    assert gate.capacity() == 2


def test_staleness_lets_so_many_batches_start_ahead():
    assert [gate_with(max_staleness=n, concurrency=100).capacity() for n in range(4)] == [2, 4, 6, 8]
    assert gate_with(max_staleness=3, concurrency=5).capacity() == 5


@pytest.mark.parametrize("end", ["drop", "fail"])
def test_a_group_that_is_dropped_or_fails_is_uncounted(end):
    gate = gate_with(max_staleness=0)
    before = gate.state()
    version = gate.start()
    assert gate.capacity() == 1
    getattr(gate, end)(version)
    assert gate.capacity() == 2
    assert gate.state() == before


def test_an_update_uncounts_the_groups_that_it_makes_too_old():
    gate = gate_with()
    gate.start(4)
    gate.accept(0)
    gate.accept(0)
    assert (gate.consume([0, 0]).running, gate.bump_version()) == (0, 1)
    gate.start(2)
    gate.accept(1)
    gate.accept(1)
    assert gate.capacity() == 0
    expired = gate.consume([1, 1])
    assert (expired.running, expired.pending) == (2, 0)
    assert gate.capacity() == 2
    with pytest.raises(CounterError, match=r"running\[0\] is 0"):
        gate.accept(0)


def test_impossible_events_are_refused_by_the_name_of_the_counter_and_change_nothing():
    gate = gate_with(batch=1, concurrency=2)
    gate.start(2)
    gate.accept(0)
    before = gate.state()
    for event, message in (
        (lambda: gate.start(), "capacity is 0: 1 groups cannot start"),
        (lambda: gate.start(-1), "capacity is 0: -1 groups cannot start"),
        (lambda: gate.drop(3), r"running\[3\] is 0"),
        (lambda: gate.fail(1), r"running\[1\] is 0"),
        (lambda: gate.consume([]), "batch is 1: an update cannot consume 0 groups"),
        (lambda: gate.consume([1]), r"pending\[1\] is 0"),
        (lambda: gate.consume([-2]), "max_staleness is 1: groups of version -2 are 2 versions old"),
        (lambda: gate.bump_version(), "training is 0"),
    ):
        with pytest.raises(CounterError, match=message):
            event()
        assert gate.state() == before
    gate.consume([0])
    with pytest.raises(CounterError, match="training is 1: version 1 must be complete before"):
        gate.consume([0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 0}, "batch is 0; give at least 1"),
        ({"max_staleness": -1}, "max_staleness is -1; give at least 0"),
        ({"concurrency": 0}, "concurrency is 0; give at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        gate_with(**values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": None}, "'version' is missing"),
        ({"version": -1}, "version is -1"),
        ({"running": [[5, 1]]}, r"running\[5\] is 1; versions go from 0 to 0"),
        ({"pending": [[0, 0]]}, r"pending\[0\] is 0; .* counts from 1"),
        ({"training": [[0, 1]]}, "training is 1; it is 0 or the batch of 2"),
        ({"running": [[0, 9]]}, "running is 9, which is 5 more than may run"),
    ],
)
def test_states_that_cannot_be_are_refused(change, message):
    state = {key: value for key, value in (gate_with().state() | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        Backpressure.from_state(state)


def test_no_group_starts_for_an_update_behind_the_horizon():
    gate = gate_with(max_staleness=3, concurrency=100)
    gate.horizon = 1
    assert gate.capacity() == 2  # one batch
    version = gate.start(2)
    assert gate.capacity() == 0
    for _ in range(2):
        gate.accept(version)
    gate.consume([version] * 2)
    assert gate.capacity() == 0
    gate.bump_version()
    assert gate.capacity() == 0
    gate.horizon = 3
    assert gate.capacity() == 4
    gate.horizon = None
    assert gate.capacity() == 8
