from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import psutil
import pytest

from experiments.faults.soak import DRIVER, OTHERS, STORE, courses, memory_by_process, memory_by_role, samples_in


def test_a_role_that_grows_is_not_flat_and_one_that_settles_after_the_warm_up_is() -> None:
    noise = np.random.default_rng(3).normal(0, 2e6, 60)
    samples = [
        {"leaks": 400e6 + 2e6 * x + noise[x], "settles": 400e6 + noise[x] + (200e6 if x < 12 else 300e6)}
        for x in range(60)
    ]
    leaks, settles = courses(samples)
    assert (leaks.flat, settles.flat) == (False, True)
    assert leaks.end - leaks.begin == pytest.approx(2e6 * 41, rel=0.1)
    assert settles.end == pytest.approx(700e6, rel=0.01)


def test_a_role_that_comes_and_goes_is_judged_by_the_samples_that_it_is_in() -> None:
    (course,) = courses([{"learner": 100e6} if x % 2 else {} for x in range(20)])
    assert course.flat
    assert (course.begin, course.most) == pytest.approx((100e6, 100e6))
    with pytest.raises(ValueError, match="let it run longer"):
        courses([{"learner": 100e6}] * 3)


def test_memory_is_that_of_the_process_and_has_its_role() -> None:
    before = memory_by_role(memory_by_process([psutil.Process()]), os.getpid(), "actor")
    held = np.ones(75_000_000)  # much, as pages that other test processes share with this one come and go
    after = memory_by_role(memory_by_process([psutil.Process()]), os.getpid(), "actor")
    assert before.keys() == after.keys() == {DRIVER}
    assert after[DRIVER] - before[DRIVER] == pytest.approx(held.nbytes, rel=0.1)


def test_the_learners_of_the_two_policies_are_told_apart_and_ranks_are_added_up() -> None:
    ranks = {1: ("ray::_RankActor", 500e6), 2: ("ray::_RankActor.learn", 600e6), 3: ("raylet", 40e6), 4: ("rlrig", 1e6)}
    assert memory_by_role(ranks, 4, "editor") == {"editor's learner": 1100e6, OTHERS: 40e6, DRIVER: 1e6}


def test_samples_are_read_as_they_were_kept(tmp_path: Path) -> None:
    processes = {7: ("rlrig train", 5e6), 8: ("ray::_RankActor", 3e6), 9: ("raylet", 2e6)}
    line = json.dumps({"policy": "actor", "driver": 7, "processes": processes, STORE: 1e6})
    (tmp_path / "kept").write_text(f"{line}\n{line}\n")
    expected = {DRIVER: 5e6, "actor's learner": 3e6, OTHERS: 2e6, STORE: 1e6}
    assert samples_in(tmp_path / "kept") == [expected, expected]
