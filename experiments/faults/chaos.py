"""`rlrig chaos`: the fault matrix and the kills at random moments, and the page that says what came of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.faults.injury import FAULTS
from experiments.faults.matrix import FAST, Cell, Result, all_cells, run_cells
from experiments.faults.resumption import Resumption, kill_and_resume
from experiments.faults.small_run import UPDATES, undisturbed
from experiments.markdown import markdown_templates
from scenes.whole_file import whole_file

_KILLS, _FAST_KILLS = 20, 3
_SEED = 5


@dataclass(frozen=True)
class Report:
    """What was found. `complete` says whether everything that was planned could be done."""

    results: Sequence[Result]
    killed: Sequence[Resumption]
    complete: bool

    @property
    def sound(self) -> bool:
        """Whether no fault lost a prompt, or made a run learn from one twice."""
        return self.complete and all(one.sound for one in self.results) and all(k.audit.sound for k in self.killed)


def make_chaos(fast: bool, preset: Path, work: Path, page: Path, say: Callable[[str], None]) -> Report:
    """Do what is not done yet in `work`, and write the page.

    Raises:
        RunFailed: an undisturbed run, or one that was killed and resumed, did not end well.
    """
    reference = undisturbed(preset, work)
    cells = [Cell(*parts) for parts in FAST] if fast else all_cells()
    results = list(run_cells(cells, preset, work, reference, say))
    killed = kill_and_resume(_FAST_KILLS if fast else _KILLS, _SEED, preset, work, reference, say)
    report = Report(results, killed, len(results) == len(cells))
    page.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(page) as partial:
        partial.write_text(render(report, fast), encoding="utf-8")
    return report


def render(report: Report, fast: bool) -> str:
    """The page in Markdown."""
    outcomes = [result.outcome for result in report.results]
    return (
        markdown_templates()
        .get_template("faults.md.j2")
        .render(
            results=report.results,
            killed=report.killed,
            sound=sum(result.sound for result in report.results),
            alone=outcomes.count("went on"),
            resumed=outcomes.count("resumed"),
            gone=outcomes.count("lost"),
            faults=FAULTS,
            updates=UPDATES,
            fast=fast,
        )
    )
