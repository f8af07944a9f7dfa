from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.faults.injury import FAULTS
from experiments.faults.matrix import (
    NODE,
    PHASES,
    ROLES,
    WHOLE,
    Cell,
    all_cells,
    fast_cells,
    kills_at_random,
    place,
)
from experiments.faults.small_run import SmallRun

SHAPE = SmallRun(Path("run.yaml"), actor=8, editor=3)


def test_the_matrix_holds_every_role_fault_and_phase_and_the_short_list_meets_each_of_them() -> None:
    cells = all_cells()
    assert len({cell.name for cell in cells}) == len(ROLES) * len(FAULTS) * len(PHASES) == len(cells)
    short = fast_cells()
    assert set(short) <= set(cells)
    assert {cell.role for cell in short} == set(ROLES)
    assert {cell.fault for cell in short} == set(FAULTS)
    assert {cell.phase for cell in short} == set(PHASES)


def test_random_moments_are_the_same_each_time_and_spread_over_all_phases() -> None:
    kills = kills_at_random(20, 5, 16.0)
    assert kills == kills_at_random(20, 5, 16.0)
    assert {(cell.role, cell.fault) for cell in kills} == {(WHOLE, "kill")}
    assert {cell.phase for cell in kills} == set(PHASES)
    assert len({cell.name for cell in kills_at_random(20, 5, 1.6)}) == len({cell.name for cell in kills}) == 20
    moments = [cell.after_s for cell in kills]
    assert min(moments) >= 0
    assert 3.2 < max(moments) < 4
    assert max(moments) - min(moments) > 2.2
    halves = [cell.after_s for cell in kills_at_random(20, 5, 8.0)]
    assert halves == pytest.approx([moment / 2 for moment in moments], abs=0.001)


def test_the_editor_is_hurt_while_it_trains_and_the_short_list_needs_three_runs() -> None:
    left, runs = fast_cells(), []
    while left:
        runs.append(place(left, SHAPE))
        left = [cell for cell in left if cell not in [placed.cell for placed in runs[-1]]]
    assert [len(run) for run in runs] == [8, 4, 1]
    assert [(placed.cell.name, placed.update) for placed in runs[0][-3:]] == [
        ("checker-interrupt-learn", 6),
        ("editor-hang-rollout", 8),
        ("editor-kill-sync", 9),
    ]
    assert runs[2][0].cell.role == NODE


@given(
    st.lists(st.sampled_from(all_cells() + kills_at_random(5, 1, 15.0)), min_size=1, max_size=30, unique=True),
    st.integers(3, 9),
    st.integers(2, 5),
)
def test_faults_of_one_run_never_overlap(cells: list[Cell], actor: int, editor: int) -> None:
    shape = SmallRun(Path("run.yaml"), actor, editor)
    placed = place(cells, shape)
    assert cells[0] in [one.cell for one in placed]
    assert [one.update for one in placed] == sorted(one.update for one in placed)
    assert all(before.judged < after.update for before, after in pairwise(placed))
    assert placed[0].update >= 1
    assert placed[-1].latest < shape.updates
    for one in placed:
        if one.cell.role != NODE:
            assert (one.update >= actor) == (one.cell.role == "editor")
    assert len(placed) == 1 or all(one.cell.role != NODE for one in placed)


def test_a_run_that_is_too_short_for_a_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="a run of 5 and 0 updates has no room for it"):
        place([Cell("editor", "kill", "rollout")], SmallRun(Path("run.yaml"), 5, 0))
    cells = [Cell("editor", "kill", "sync"), Cell("learner", "kill", "learn"), Cell("learner", "hang", "learn")]
    assert [one.cell for one in place(cells, SmallRun(Path("run.yaml"), 4, 2))] == [cells[1], cells[0]]
    kills = kills_at_random(3, 1, 15.0)  # a kill leaves an update after its own
    assert [(one.cell, one.update) for one in place(kills, SmallRun(Path("run.yaml"), 4, 0))] == [
        (kills[0], 1),
        (kills[1], 2),
    ]
    with pytest.raises(ValueError, match="there are none to place"):
        place([], SHAPE)
