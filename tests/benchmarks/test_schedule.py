from dataclasses import replace

import pytest

from benchmarks.schedule import compare, table, targets
from benchmarks.simulated_fleet import Setting, Simulation
from benchmarks.synchronous_rounds import SynchronousRounds

CALM = Setting(
    edit_sigma=0, answer_sigma=0, check_sigma=0, straggler_rate=0, drop_rate=0, failure_every_s=1e12, slots=1
)


@pytest.fixture(scope="module")
def rows():
    return list(compare((8, 64), Setting()))


def test_the_targets_are_met_at_8_and_64_workers(rows):
    *met, driver = targets(rows)
    assert (
        "driver time" in driver.text
    )  # a measurement of this machine; its steps are counted with the scheduler's tests
    assert [target.text for target in met if not target.met] == []
    assert min(row.speedup for row in rows if row.max_staleness == 1) >= 1.5
    assert min(row.measured.busy - row.measured.wasted for row in rows if row.max_staleness == 1) >= 0.95


def test_no_group_is_older_than_allowed_and_on_policy_wastes_only_what_fails(rows):
    for row in rows:
        assert row.measured.max_age <= (row.max_staleness or 0)
        assert row.measured.wasted < (0.05 if row.max_staleness else 0.03)


def test_the_table_has_a_line_for_each_schedule_of_each_fleet(rows):
    assert table(rows).row_count == len(rows) == 2 * 4


def test_targets_that_are_missed_are_told(rows):
    bad = [replace(row, speedup=1.2, measured=replace(row.measured, busy=0.9, max_age=3)) for row in rows]
    assert [target.met for target in targets(bad)][:3] == [False, False, False]
    assert len(targets(bad, heavy_tailed=False)) == 3


def test_without_chance_the_times_are_those_of_the_sums():
    """Every group takes turns × (answer + group size × edit + check); then comes the update with its weights."""
    group_s = CALM.turns * (CALM.answer_s + CALM.group_size * CALM.edit_s + CALM.check_s)
    on_policy, _ = Simulation(CALM, max_staleness=0).run()
    update_s = CALM.groups_per_worker * group_s + CALM.update_s + CALM.sync_s
    assert on_policy.groups_per_s == pytest.approx(CALM.batch / update_s, rel=1e-6)
    edits_s = CALM.groups_per_worker * CALM.turns * CALM.group_size * CALM.edit_s
    assert on_policy.busy == pytest.approx(edits_s / update_s, rel=1e-6)
    assert on_policy.wasted == 0

    rounds = SynchronousRounds(CALM).run()
    together_s = edits_s + CALM.turns * (CALM.answer_s + CALM.check_s) + CALM.update_s + CALM.sync_s
    assert rounds.groups_per_s == pytest.approx(CALM.batch / together_s, rel=1e-6)


def test_staleness_hides_the_update_behind_the_rollout():
    ahead, _ = Simulation(CALM, max_staleness=1).run()
    group_s = CALM.turns * (CALM.answer_s + CALM.group_size * CALM.edit_s + CALM.check_s)
    assert ahead.groups_per_s == pytest.approx(CALM.batch / (CALM.groups_per_worker * group_s + CALM.sync_s), rel=0.01)
    assert ahead.max_age == 1


def test_equal_seeds_give_equal_runs_and_others_differ():
    setting = Setting(updates=3)
    first, second, other = (Simulation(replace(setting, seed=seed), 1).run() for seed in (1, 1, 2))
    assert first == second
    assert first[0] != other[0]


def test_workers_that_die_often_cost_throughput_but_no_run_stops():
    calm, _ = Simulation(Setting(failure_every_s=1e9), 1).run()
    stormy, _ = Simulation(Setting(failure_every_s=1800.0), 1).run()
    assert 0.5 * calm.groups_per_s < stormy.groups_per_s < calm.groups_per_s
    assert stormy.wasted > calm.wasted
