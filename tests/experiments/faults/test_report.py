from __future__ import annotations

from pathlib import Path

from experiments.faults.audit import Audit
from experiments.faults.chaos import Report, render
from experiments.faults.matrix import Cell, kills_at_random
from experiments.faults.outcome import Result, keep, kept

SOUND = Audit(0, 0, 0, True)


def result(outcome: str = "went on", found: Audit | None = SOUND, message: str = "") -> Result:
    return Result(Cell("editor", "kill", "learn"), outcome, 3.2, 0, message, found)


def killed(found: Audit | None = SOUND) -> Result:
    return Result(kills_at_random(1, 0, 15.0)[0], "resumed", 80.0, 0, "", found)


def test_one_lost_prompt_or_one_fault_that_could_not_be_done_is_not_sound() -> None:
    assert Report([result(), killed()], True).sound
    assert not Report([result(), killed()], False).sound
    assert not Report([result("lost", None)], True).sound
    assert not Report([result(found=Audit(1, 0, 0, False))], True).sound
    assert not Report([result(), killed(Audit(0, 1, 0, True))], True).sound


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results = [result("lost", None, "said"), killed()]
    keep(results, tmp_path)
    assert [kept(one.cell, tmp_path) for one in results] == results
    assert kept(Cell("editor", "hang", "learn"), tmp_path) is None


def test_the_page_counts_outcomes_and_shows_what_a_run_said_as_text() -> None:
    said = "a | b <script> (process 12 on node 10.0.0.1, log /logs/worker-12.err): " + "x" * 400
    page = render([result(), result("resumed", message=said), result("lost", None), killed()])
    assert "2 of 3 faults left nothing lost" in page
    assert "After 1 the run went on by itself" in page
    assert "**after 1 it could not be**" in page
    assert "a \\| b &lt;script> (process …): x" in page
    assert "x" * 301 not in page
    rows = [line for line in page.splitlines() if line.startswith("| editor")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {11}
    assert [line.count("|") for line in page.splitlines() if " began |" in line] == [8]
    assert "Killed at a random moment" not in render([result()])
    assert "The matrix has 160 faults" in page
    assert "The matrix has" not in render([result()] * 160)


def test_the_page_of_kills_alone_says_nothing_of_other_faults() -> None:
    page = render([killed()])
    assert "faults left nothing lost" not in page
    assert "(1 times, several times each run)" in page
