"""A few cells of the fault matrix, and kills at random moments, on real runs; `make chaos` does all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.faults.audit import Audit, Ledger
from experiments.faults.matrix import Cell, run_cell
from experiments.faults.resumption import kill_and_resume
from experiments.faults.small_run import UPDATES, undisturbed

pytestmark = [pytest.mark.engines, pytest.mark.long]
PRESET = Path("presets/tiny/run.yaml").resolve()
UNHARMED = Audit(lost=0, twice=0, updates=0, same_weights=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture(scope="module")
def reference(work: Path) -> Ledger:
    found = undisturbed(PRESET, work)
    assert len(found.prompts) == 2 * UPDATES
    assert found.digest.keys() == {"actor", "editor"}
    return found


def test_a_run_that_is_killed_at_a_random_moment_and_resumed_ends_like_one_that_was_not(
    work: Path, reference: Ledger
) -> None:
    found = kill_and_resume(3, 11, PRESET, work, reference, print)
    assert [one.audit for one in found] == [UNHARMED] * 3
    assert {one.updates for one in found} != {0}, "none of them went on from a checkpoint"


def test_a_run_goes_on_by_itself_when_the_editor_hangs(work: Path, reference: Ledger) -> None:
    result = run_cell(Cell("editor", "hang", "rollout"), PRESET, work, reference)
    assert (result.outcome, result.left_over) == ("went on", 0), result.message
    assert result.audit == UNHARMED
    assert result.seconds is not None
    assert result.seconds < 600
