from __future__ import annotations

from experiments.arms import ARMS
from experiments.cells import arm_cells, raw_cell, sweep_cells
from experiments.plan import FAST, FULL


def test_trained_arms_have_a_cell_for_each_seed_and_untrained_ones_have_one() -> None:
    cells = arm_cells(FULL)
    trained = sum(arm.job is not None for arm in ARMS)
    assert len(cells) == 2 * (len(ARMS) - trained + 3 * trained)
    assert {(cell.prompts, cell.count) for cell in cells} == {("two_three", 512), ("four_five", 256)}
    assert all((cell.job is None) == (cell.seed == -1) for cell in cells)


def test_every_cell_has_a_file_of_its_own() -> None:
    sweeps = {one.cell for one in sweep_cells(FULL)}
    assert len(sweep_cells(FULL)) > len(sweeps)
    names = [cell.name for cell in [*arm_cells(FULL), *sweeps]]
    assert len(set(names)) == len(names)
    assert not any(set(name) & set(" :/,") for name in names)


def test_the_cell_that_best_of_n_is_measured_by_is_one_of_the_arms() -> None:
    assert raw_cell(FULL, "four_five") in arm_cells(FULL)


def test_a_setting_of_the_evaluation_changes_the_turns_and_trains_nothing() -> None:
    found = {one.setting.label: one.cell for one in sweep_cells(FULL) if one.sweep.name == "turns"}
    assert [found[label].turns for label in "1234"] == [1, 2, 3, 4]
    assert {cell.job.folder for cell in found.values()} == {"stages-seed0"}
    assert sweep_cells(FAST) == []


def test_settings_that_change_nothing_share_a_cell() -> None:
    unchanged = [one for one in sweep_cells(FULL) if not (one.setting.overrides or one.setting.turns)]
    assert len(unchanged) == len(FULL.sweeps)
    assert {one.cell.job.name for one in unchanged} == {"sweep-actor", "sweep-editor", "stages"}
    assert len({one.cell for one in unchanged}) == 3
