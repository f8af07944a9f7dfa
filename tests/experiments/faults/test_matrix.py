from __future__ import annotations

from experiments.faults.audit import Audit
from experiments.faults.chaos import Report, render
from experiments.faults.injury import FAULTS
from experiments.faults.matrix import FAST, PHASES, ROLES, Cell, Result, all_cells
from experiments.faults.resumption import Resumption

SOUND = Audit(0, 0, 0, True)


def result(outcome: str = "went on", found: Audit | None = SOUND, message: str = "") -> Result:
    return Result(Cell("editor", "kill", "learn"), outcome, 3.2, 0, message, found)


def test_the_matrix_holds_every_role_fault_and_phase_and_the_short_list_meets_each_of_them() -> None:
    cells = all_cells()
    assert len({cell.name for cell in cells}) == len(ROLES) * len(FAULTS) * len(PHASES) == len(cells)
    short = [Cell(*parts) for parts in FAST]
    assert set(short) <= set(cells)
    assert {cell.role for cell in short} == set(ROLES)
    assert {cell.fault for cell in short} == set(FAULTS)
    assert {cell.phase for cell in short} == set(PHASES)


def test_the_editor_is_hurt_while_it_trains() -> None:
    assert Cell("editor", "kill", "learn").update > 2 > Cell("actor", "kill", "learn").update


def test_one_lost_prompt_or_one_fault_that_could_not_be_done_is_not_sound() -> None:
    killed = [Resumption(3.0, 1, SOUND)]
    assert Report([result()], killed, True).sound
    assert not Report([result()], killed, False).sound
    assert not Report([result("lost", None)], killed, True).sound
    assert not Report([result(found=Audit(1, 0, 0, False))], killed, True).sound
    assert not Report([result()], [Resumption(3.0, 1, Audit(0, 1, 0, True))], True).sound


def test_the_page_counts_outcomes_and_shows_what_a_run_said_as_text() -> None:
    said = "a | b <script>" + "x" * 400
    report = Report(
        [result(), result("resumed", message=said), result("lost", None)], [Resumption(3.0, 1, SOUND)], True
    )
    page = render(report, fast=True)
    assert "2 of 3 faults left nothing lost" in page
    assert "1 runs went on by themselves" in page
    assert "**1 could not be resumed**" in page
    assert "a \\| b &lt;script>" in page
    assert "x" * 301 not in page
    rows = [line for line in page.splitlines() if line.startswith("| editor")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {11}
