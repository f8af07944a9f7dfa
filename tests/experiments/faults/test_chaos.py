"""Some faults, and kills of the whole run at random moments, on real runs; `make chaos` does all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.faults.audit import Audit
from experiments.faults.chaos import run_cells
from experiments.faults.matrix import WHOLE, Cell, kills_at_random
from experiments.faults.small_run import SmallRun

pytestmark = pytest.mark.engines
PRESET = Path("presets/tiny/run.yaml").resolve()
SHAPE = SmallRun(PRESET, actor=6, editor=0)
UNHARMED = Audit(lost=0, twice=0, updates=0, same_weights=True)
ALONE = [Cell("env_runner", "kill", "rollout", 0.5)]


def check(kills: int, folder: Path) -> None:
    """Hurt a run's EnvRunner, and kill so many whole runs at random moments: all end like one that was not hurt."""
    reference = SHAPE.undisturbed(folder)
    assert len(reference.prompts) == SHAPE.updates
    moments = kills_at_random(kills, 12, SHAPE.update_s(folder))
    results = run_cells(ALONE + moments, SHAPE, folder, reference, print)
    assert [one.audit for one in results] == [UNHARMED] * (1 + kills)
    assert [one.outcome for one in results] == ["went on", *["resumed"] * kills]
    assert [one.cell.role for one in results[1:]] == [WHOLE] * kills
    assert all(one.left_over == 0 and 0 < one.seconds < 600 for one in results)


@pytest.mark.long
def test_a_run_that_is_hurt_or_killed_at_a_random_moment_ends_like_one_that_was_not(tmp_path: Path) -> None:
    check(1, tmp_path)


@pytest.mark.long
def test_three_runs_that_are_killed_at_random_moments_end_like_one_that_was_not(tmp_path: Path) -> None:
    check(3, tmp_path)


@pytest.mark.long
def test_a_run_goes_on_by_itself_when_the_editor_hangs(tmp_path: Path) -> None:
    shape = SmallRun(PRESET, actor=2, editor=2)
    reference = shape.undisturbed(tmp_path)
    assert reference.digest.keys() == {"actor", "editor"}
    (result,) = run_cells([Cell("editor", "hang", "rollout", 0.5)], shape, tmp_path, reference, print)
    assert (result.outcome, result.left_over) == ("went on", 0), result.message
    assert result.audit == UNHARMED
    assert result.seconds is not None
    assert result.seconds < 600
