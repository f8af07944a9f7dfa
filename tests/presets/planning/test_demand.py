import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.planning.demand import Range, Sizing, ranges
from presets.run_file import load_config

RANGES = st.builds(
    lambda least, more, prompt, worker: Range(least, least + more, prompt, worker),
    st.integers(1, 20),
    st.integers(0, 50),
    st.integers(1, 64),
    st.integers(1, 64),
)
BACKLOGS = st.integers(0, 10_000)
STEPS = st.lists(st.tuples(st.integers(1, 9), st.floats(0, 50)), min_size=1, max_size=60)


@given(RANGES, BACKLOGS)
def test_what_is_wanted_is_within_bounds_and_enough_for_the_rows(found, prompts):
    wanted = found.wanted(prompts)
    assert found.least <= wanted <= found.most
    rows = prompts * found.rows_per_prompt
    assert wanted == found.most or wanted * found.rows_per_worker >= rows
    assert wanted == found.least or (wanted - 1) * found.rows_per_worker < rows


@given(RANGES, BACKLOGS, BACKLOGS)
def test_a_greater_backlog_never_wants_less(found, prompts, more):
    assert found.wanted(prompts) <= found.wanted(prompts + more)


def test_each_worker_has_its_rows():
    editors = Range(1, 5, rows_per_prompt=8, rows_per_worker=16)
    assert [editors.wanted(prompts) for prompts in (0, 1, 2, 3, 4, 5, 10, 99)] == [1, 1, 1, 2, 2, 3, 5, 5]


@pytest.mark.parametrize("wrong", [(0, 1, 1, 1), (3, 2, 1, 1), (1, 2, 0, 1), (1, 2, 1, 0)])
def test_a_range_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match=r"needs 1 <= least <= most|give at least 1"):
        Range(*wrong)


@given(STEPS, st.floats(0, 100))
def test_a_size_is_at_least_what_is_wanted_and_never_more_than_was_wanted_of_late(steps, idle_s):
    sizing, now, seen = Sizing(1, idle_s), 0.0, []
    for wanted, seconds in steps:
        now += seconds
        seen.append(wanted)
        size = sizing.follow(wanted, now)
        assert wanted <= size <= max(1, *seen)


@given(STEPS, st.floats(0, 100))
def test_a_size_shrinks_only_after_idle_s_in_which_it_was_never_wanted(steps, idle_s):
    sizing, now, size, needed_at = Sizing(1, idle_s), 0.0, 1, 0.0
    for wanted, seconds in steps:
        now += seconds
        before, size = size, sizing.follow(wanted, now)
        if size < before:
            assert now - needed_at >= idle_s
        if wanted >= size or size != before:
            needed_at = now


@given(st.integers(1, 9), st.integers(1, 9), st.floats(1, 100))
def test_demand_that_swings_faster_than_idle_s_changes_nothing(low, high, idle_s):
    low, high = sorted((low, high))
    sizing = Sizing(high, idle_s)
    for step in range(100):
        assert sizing.follow(low if step % 2 else high, step * idle_s * 0.49) == high


def test_it_grows_at_once_and_shrinks_to_what_was_wanted_meanwhile():
    sizing = Sizing(1, idle_s=60)
    assert sizing.follow(4, 0) == 4
    assert [sizing.follow(wanted, now) for wanted, now in ((1, 10), (2, 30), (1, 69), (1, 70))] == [4, 4, 4, 2]
    assert [sizing.follow(1, now) for now in (71, 130, 131)] == [2, 2, 1]
    with pytest.raises(ValueError, match="idle_s is -1"):
        Sizing(1, -1)


def test_the_configuration_says_the_ranges(run_file):
    config = load_config(
        run_file, ["editor.max_workers=4", "rollout.max_env_runners=3", "rollout.group_size=6", "diffuser.workers=2"]
    )
    assert ranges(config) == {
        "diffuser": Range(2, 2, 1, 16),
        "editor": Range(1, 4, 6, 16),
        "env_runner": Range(1, 3, 1, 4),
    }
    assert [role for role, found in ranges(config).items() if found.elastic] == ["editor", "env_runner"]
