import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.schedule import Schedule, StageConfig, ended_at, shared_out

stages = st.lists(
    st.builds(
        StageConfig,
        stage=st.sampled_from(["actor", "editor", "alternate"]),
        updates=st.integers(1, 7),
        switch_every=st.integers(1, 9),
    ),
    min_size=1,
    max_size=5,
)


@given(stages)
def test_a_schedule_is_the_list_of_its_updates(given: list[StageConfig]) -> None:
    listed = [stage.policy(update) for stage in given for update in range(stage.updates)]
    schedule = Schedule(given)
    assert list(schedule) == [schedule[number] for number in range(len(schedule))] == listed
    assert [schedule[number - len(listed)] for number in range(len(listed))] == listed
    assert schedule[1:-1] == listed[1:-1]
    assert schedule.policies == set(listed)
    assert sum(updates for _, updates in schedule.plan()) == len(listed)
    for policy in ("actor", "editor"):
        counts = [schedule.updates_of(policy, since) for since in range(len(listed) + 2)]
        assert counts == [listed[since:].count(policy) for since in range(len(listed) + 2)]
    for update in range(len(listed) + 2):
        later = (number for number in range(update, len(listed)) if listed[number] != listed[update])
        assert schedule.next_change(update) == next(later, len(listed))


def test_a_schedule_of_many_updates_costs_nothing() -> None:
    many = 10**8
    schedule = Schedule(
        [
            StageConfig(stage="actor", updates=many),
            StageConfig(stage="alternate", updates=many, switch_every=3),
            StageConfig(stage="editor", updates=10**12),
        ]
    )
    began = time.process_time()
    assert len(schedule) == 2 * many + 10**12
    assert (schedule[many - 1], schedule[many + 3], schedule[-1]) == ("actor", "editor", "editor")
    assert schedule.plan() == [("actor", many), ("alternate", many), ("editor", 10**12)]
    assert (schedule.next_change(5), schedule.next_change(many + 3)) == (many + 3, many + 6)
    assert schedule.policies == {"actor", "editor"}
    assert time.process_time() - began < 0.5


def _stages(*counts: int) -> list[StageConfig]:
    return [StageConfig(stage="editor" if place % 2 else "actor", updates=count) for place, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("counts", "total", "expected"),
    [
        ((32, 16), 6, [4, 2]),
        ((32, 16), 48, [32, 16]),
        ((32, 16), 96, [64, 32]),
        ((32, 16), 1, [1]),
        ((1, 1), 3, [2, 1]),
    ],
)
def test_updates_are_shared_out_in_the_proportion_of_the_stages(
    counts: tuple[int, ...], total: int, expected: list[int]
) -> None:
    found = shared_out(_stages(*counts), total)
    assert [stage.updates for stage in found] == expected
    assert [stage.stage for stage in found] == ["actor", "editor"][: len(expected)]


@given(stages, st.integers(1, 60))
def test_all_updates_are_shared_out_and_none_is_far_from_its_share(given: list[StageConfig], total: int) -> None:
    numbered = [stage.model_copy(update={"switch_every": place + 1}) for place, stage in enumerate(given)]
    found = {stage.switch_every: stage.updates for stage in shared_out(numbered, total)}
    assert sum(found.values()) == total
    whole = sum(stage.updates for stage in given)
    for stage in numbered:
        assert abs(found.get(stage.switch_every, 0) - total * stage.updates / whole) < 1


@given(stages, st.integers(1, 60))
def test_a_run_that_goes_on_keeps_what_it_has_done(given: list[StageConfig], total: int) -> None:
    before, after = list(Schedule(given)), Schedule(ended_at(given, total))
    assert len(after) == total
    assert list(after)[: len(before)] == before[:total]
