import json
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.scheduling.assignment import Outcome
from rollout.scheduling.scheduler import Scheduler
from rollout.scheduling.staleness import Backpressure

DEADLINE = 100.0


class Drive:
    """A driver and workers that do anything in any order, and what must hold after each step.

    `open` holds the groups whose end nobody has told yet; `revoked` the tickets whose result is of no use; `settled`
    how often each prompt was dropped or trained on.
    """

    def __init__(self, chance, gate, slots):
        self.chance, self.scheduler = chance, Scheduler(gate, deadline_s=DEADLINE)
        self.slots = dict(enumerate(slots))
        self.there, self.closed = set(), set()
        self.open, self.revoked, self.accepted, self.settled = {}, set(), {}, Counter()
        self.batch, self.now, self.seen = None, 0.0, 0
        self.begun_on = []  # groups that the learner was given before the batch was complete
        for worker in self.slots:
            self.come(worker)

    def walk(self, steps):
        events = {
            self.dispatch: 5,
            self.finish: 10,
            self.begin: 5,
            self.fail: 0.3,
            self.time_passes: 1,
            self.worker_goes_or_comes: 1,
            self.update: 6,
            self.everything_dies_and_comes_back: 0.1,
        }
        for event in self.chance.choices(list(events), list(events.values()), k=steps):
            event()
            self.check()

    def check(self):
        gate = self.scheduler.gate
        assert gate.capacity() >= 0
        assert gate.running == len(self.open.keys() - self.revoked) <= gate.concurrency
        held = Counter(assignment.worker for assignment in self.open.values())
        assert all(held[worker] <= self.slots[worker] for worker in held)
        state = self.scheduler.state()
        places = Counter(number for number, *_ in state["unfinished"])
        places.update(number for _, _, number, *_ in state["buffered"])
        places.update(self.settled)
        assert places == Counter(range(self.seen)), "every prompt is in one place"

    def come(self, worker):
        self.scheduler.add_worker(worker, self.slots[worker])
        self.there.add(worker)
        self.closed.discard(worker)

    def dispatch(self):
        for assignment in self.scheduler.dispatch(self.now):
            assert assignment.worker in self.there - self.closed
            assert assignment.version == self.scheduler.gate.version
            assert assignment.ticket not in self.open
            assert not self.settled[assignment.prompt.number]
            self.open[assignment.ticket] = assignment
            self.seen = max(self.seen, assignment.prompt.number + 1)
        held = Counter(assignment.worker for assignment in self.open.values())
        slots = sum(held[worker] if worker in self.closed else self.slots[worker] for worker in self.there)
        assert self.scheduler.gate.capacity() == 0 or len(self.open) == slots, "no slot stays empty"

    def finish(self):
        if self.open:
            stragglers = self.chance.random() < 0.95  # the newest first leaves old groups behind
            self.end(max(self.open) if stragglers else self.chance.choice(list(self.open)), self.chance.random() < 0.2)

    def end(self, ticket, dropped):
        assignment = self.open.pop(ticket)
        outcome = self.scheduler.finished(ticket, f"result {ticket}", dropped=dropped)
        if ticket in self.revoked:
            assert outcome is Outcome.REVOKED
        elif dropped:
            assert outcome is Outcome.DROPPED
            self.settled[assignment.prompt.number] += 1
        else:
            assert outcome is Outcome.ACCEPTED
            self.accepted[ticket] = assignment.prompt, assignment.version
        assert self.scheduler.finished(ticket, "told twice") is Outcome.REVOKED

    def begin(self):
        if not self.batch:
            self.begun_on += self.scheduler.settled()

    def fail(self):
        if self.open:
            ticket = self.chance.choice(list(self.open))
            del self.open[ticket]
            self.scheduler.failed(ticket)

    def time_passes(self):
        self.now += self.chance.choice([5.0, 10.0, 20.0, 120.0])
        late = [assignment.ticket for assignment in self.scheduler.late(self.now)]
        overdue = {ticket for ticket, group in self.open.items() if self.now - group.started > DEADLINE}
        assert late == sorted(overdue - self.revoked)
        self.revoked.update(late)

    def worker_goes_or_comes(self):
        worker = self.chance.choice(list(self.slots))
        if worker not in self.there:
            self.come(worker)
            return
        if self.chance.random() < 0.4:
            self.scheduler.close_worker(worker)
            self.closed.add(worker)
            return
        self.go(worker, blameless=self.chance.random() < 0.5)

    def go(self, worker, *, blameless):
        mine = {ticket for ticket, assignment in self.open.items() if assignment.worker == worker}
        self.scheduler.remove_worker(worker, blameless=blameless)
        again = self.scheduler.state()["unfinished"]
        for ticket in mine - self.revoked:
            prompt = self.open[ticket].prompt
            assert [prompt.number, prompt.attempts + (not blameless), prompt.overtaken] in again
        self.there.remove(worker)
        for ticket in mine:
            del self.open[ticket]
            assert self.scheduler.finished(ticket, "sent before it went") is Outcome.REVOKED

    def update(self):
        gate = self.scheduler.gate
        if self.batch:
            assert not self.scheduler.ready
            self.scheduler.trained()
            self.settled.update(group.prompt.number for group in self.batch.groups)
            self.batch = None
        elif self.scheduler.ready:
            self.batch = self.scheduler.take_batch()
            numbers = [group.prompt.number for group in self.batch.groups]
            assert len(numbers) == gate.batch
            begun = [group.ticket for group in self.begun_on]
            assert len(set(begun)) == len(begun)
            assert set(begun) <= {group.ticket for group in self.batch.groups}, "it was not settled"
            if gate.max_staleness == 0:
                assert [group.prompt.number for group in self.begun_on] == numbers[: len(begun)]
            self.begun_on = []
            assert numbers == sorted(numbers)
            for group in self.batch.groups:
                assert 0 <= gate.version - group.version <= gate.max_staleness
                assert group.result == f"result {group.ticket}"
                assert self.accepted.pop(group.ticket) == (group.prompt, group.version)
            for lost in (*self.batch.overtaken, *self.batch.expired):
                assert lost.version == gate.version - gate.max_staleness
            self.revoked.update(assignment.ticket for assignment in self.batch.overtaken)
            for group in self.batch.expired:
                del self.accepted[group.ticket]
            assert all(version > gate.version - gate.max_staleness for _, version in self.accepted.values())

    def everything_dies_and_comes_back(self):
        state = json.loads(json.dumps(self.scheduler.state()))
        results = {group.ticket: group.result for group in self.scheduler.buffered()}
        self.scheduler = Scheduler.from_state(state, results)
        if self.batch:
            self.accepted |= {group.ticket: (group.prompt, group.version) for group in self.batch.groups}
            self.batch = None
        self.open.clear()
        self.there.clear()
        self.begun_on = []
        for worker in self.slots:
            self.come(worker)

    def go_on_undisturbed(self, updates):
        """Training must go on as soon as workers finish what they are given. Drained ones go, and come anew."""
        for worker in sorted(self.closed & self.there):
            self.go(worker, blameless=True)
        for worker in self.slots.keys() - self.there:
            self.come(worker)
        goal = self.scheduler.gate.version + updates
        for _ in range(500):
            self.update()
            if self.scheduler.gate.version == goal:
                return
            self.begin()
            self.dispatch()
            if self.open:
                self.end(min(self.open), dropped=False)
            self.check()
        raise AssertionError(f"{self.scheduler.gate.state()}: no update in 500 events")


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(0, 400),
    batch=st.integers(1, 3),
    max_staleness=st.integers(0, 2),
    concurrency=st.integers(2, 12),
    slots=st.lists(st.integers(1, 3), min_size=2, max_size=4),
)
def test_whatever_happens_every_prompt_is_trained_on_or_dropped_once_and_in_time(
    seed, steps, batch, max_staleness, concurrency, slots
):
    gate = Backpressure(batch=batch, max_staleness=max_staleness, concurrency=concurrency)
    drive = Drive(random.Random(seed), gate, slots)
    drive.walk(steps)
    drive.go_on_undisturbed(updates=3)
