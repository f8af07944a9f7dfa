"""A pool with workers that do as they are told: no process is started."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.planning.demand import Range
from rollout.elastic.pool import Pool, WorkerGone

IDLE_S, DRAIN_S, RESTART_S = 60.0, 20.0, 90.0


class Scripted:
    """Workers by number. Those in `places` are ready, those in `broken` never will be, those in `busy` have work."""

    def __init__(self, least: int) -> None:
        self.there = list(range(least))
        self.made, self.waiting, self.left, self.ended = least, [], [], []
        self.places, self.broken, self.busy, self.news = set(), set(), set(), []

    def members(self):
        return self.there

    def start(self):
        self.made += 1
        self.waiting.append(self.made - 1)
        return self.made - 1

    def ready(self, worker):
        assert worker in self.waiting
        if worker in self.broken:
            raise WorkerGone("no such model")
        return worker in self.places

    def join(self, worker):
        self.waiting.remove(worker)
        self.there.append(worker)

    def lost(self):
        news, self.news = self.news, []
        return news

    def lose(self, worker):
        self.there.remove(worker)
        self.waiting.append(worker)
        self.places.discard(worker)
        self.news.append(worker)

    def leave(self, worker):
        self.there.remove(worker)
        self.left.append(worker)

    def idle(self, worker):
        return worker not in self.busy

    def end(self, worker):
        for place in (self.waiting, self.left):
            if worker in place:
                place.remove(worker)
        assert worker not in self.there
        self.ended.append(worker)


def pool_of(least=1, most=5, note=lambda _: None) -> tuple[Pool, Scripted]:
    workers = Scripted(least)
    found = Range(least, most, rows_per_prompt=1, rows_per_worker=1)
    times = {"idle_s": IDLE_S, "drain_s": DRAIN_S, "restart_s": RESTART_S}
    return Pool("editor", found, workers, **times, note=note), workers


def test_it_asks_for_workers_at_once_and_lets_each_join_when_it_is_ready():
    pool, workers = pool_of()
    pool.follow(3, 0.0)
    assert (pool.wanted, pool.asked_for, workers.there) == (3, [1, 2], [0])
    workers.places = {2}
    pool.follow(3, 1000.0)  # a node may take as long as it likes
    assert (pool.asked_for, workers.there) == ([1], [0, 2])


def test_what_has_not_joined_is_taken_back_before_a_member_is_drained_and_the_newest_goes_first():
    pool, workers = pool_of()
    pool.follow(4, 0.0)
    workers.places = {1, 2}
    pool.follow(4, 1.0)
    pool.follow(2, 2.0)
    assert pool.asked_for == [3]  # demand may come back
    pool.follow(2, 2.0 + IDLE_S)
    assert (workers.ended, workers.there, pool.draining) == ([3], [0, 1], [2])


def test_a_drained_worker_ends_when_it_has_finished_or_after_the_deadline():
    pool, workers = pool_of()
    pool.follow(3, 0.0)
    workers.places = {1, 2}
    pool.follow(3, 1.0)
    workers.busy = {1, 2}
    pool.follow(1, 2.0)
    pool.follow(1, 2.0 + IDLE_S)
    assert sorted(pool.draining) == [1, 2]
    workers.busy = {1}
    pool.follow(1, 3.0 + IDLE_S)
    assert (workers.ended, pool.draining) == ([2], [1])
    pool.follow(1, 1.0 + IDLE_S + DRAIN_S)
    assert pool.draining == [1]
    pool.follow(1, 2.0 + IDLE_S + DRAIN_S)
    assert workers.ended == [2, 1]


def test_a_lost_worker_joins_again_or_gives_its_place_to_another_after_restart_s():
    pool, workers = pool_of()
    pool.follow(3, 0.0)
    workers.places = {1, 2}
    pool.follow(3, 1.0)
    workers.lose(2)
    pool.follow(3, 2.0)
    assert (pool.asked_for, workers.made) == ([2], 3)  # Ray starts it again, so that no other is asked for
    workers.places = {2}
    pool.follow(3, 3.0)
    assert workers.there == [0, 1, 2]
    workers.lose(1)
    pool.follow(3, 4.0)
    pool.follow(3, 4.0 + RESTART_S)
    assert (workers.ended, pool.asked_for) == ([1], [3])


def test_a_worker_that_cannot_start_is_not_tried_again_at_once():
    notes = []
    pool, workers = pool_of(note=notes.append)
    workers.broken = {1, 2}
    pool.follow(2, 0.0)
    pool.follow(2, 1.0)
    pool.follow(2, 20.0)
    assert (workers.ended, pool.asked_for) == ([1], [])
    assert any("no such model" in note for note in notes)
    pool.follow(2, 31.0)
    assert pool.asked_for == [2]


def test_what_was_asked_for_makes_room_and_is_asked_for_again():
    pool, workers = pool_of()
    pool.follow(3, 0.0)
    pool.take_back_asked_for()
    assert (workers.waiting, workers.ended) == ([], [1, 2])
    pool.follow(3, 1.0)
    assert pool.asked_for == [3, 4]
    pool.close()
    assert (workers.waiting, workers.there) == ([], [0])


@pytest.mark.parametrize("least", [1, 3])
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 150))
def test_whatever_happens_members_stay_within_bounds_and_nobody_is_forgotten(least, seed, steps):
    chance, now = random.Random(seed), 0.0
    pool, workers = pool_of(least=least, most=6)
    for _ in range(steps):
        now += chance.choice([0.5, 5.0, 40.0])
        workers.places |= set(chance.sample(workers.waiting, k=chance.randint(0, len(workers.waiting))))
        workers.broken |= {w for w in workers.waiting if chance.random() < 0.05}
        workers.busy = {w for w in workers.left if chance.random() < 0.5}
        if len(workers.there) > 1 and chance.random() < 0.2:
            workers.lose(chance.choice(workers.there))
        pool.follow(chance.randint(0, 8), now)
        assert len(workers.there) + len(pool.asked_for) <= 6
        assert least <= pool.wanted <= 6
        assert len(workers.there) <= max(pool.wanted, least)
        assert sorted(workers.waiting) == sorted(pool.asked_for)
        assert sorted(workers.left) == sorted(pool.draining)
        everyone = [*workers.there, *workers.waiting, *workers.left, *workers.ended]
        assert sorted(everyone) == list(range(workers.made))
    workers.broken, workers.busy = set(), set()
    for step in range(3):
        now += 200.0
        workers.places |= set(workers.waiting)
        pool.follow(99, now)
        assert step == 0 or len(workers.there) + len(pool.asked_for) == 6
    assert len(workers.there) == 6
    for _ in range(4):
        now += 200.0
        pool.follow(0, now)
    assert (len(workers.there), pool.draining) == (least, [])
