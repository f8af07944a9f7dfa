"""`rlrig chaos`: the fault matrix and the kills at random moments, and the page that says what came of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from experiments.faults.audit import Ledger
from experiments.faults.hurt_run import FaultFailed, hurt_run
from experiments.faults.injury import FAULTS
from experiments.faults.matrix import WHOLE, Cell, all_cells, fast_cells, kills_at_random, place
from experiments.faults.outcome import LOST, RESUMED, WENT_ON, Result, keep, kept
from experiments.faults.small_run import SmallRun
from experiments.markdown import markdown_templates
from scenes.whole_file import whole_file

Wanted = Literal["fast", "kills", "all"]
_KILLS = 20
_SEED = 5
_SITE = re.compile(r"process \d+ on node [^ ]+, log [^);]+")  # says something on the machine alone


@dataclass(frozen=True)
class Report:
    """What was found. `complete` says whether everything that was planned could be done."""

    results: Sequence[Result]
    complete: bool

    @property
    def sound(self) -> bool:
        """Whether no fault lost a prompt, or made a run learn from one twice."""
        return self.complete and all(one.sound for one in self.results)


def make_chaos(wanted: Wanted, preset: Path, work: Path, page: Path, say: Callable[[str], None]) -> Report:
    """Do what is not done yet in `work`, and write the page of all that was ever done there; the report is of what is
    wanted now: the short list, the kills of a whole run, or the whole matrix and the kills.

    Raises:
        RunFailed: an undisturbed run did not end well.
    """
    shape = SmallRun(preset)
    reference = shape.undisturbed(work)
    kills = kills_at_random(_KILLS, _SEED, shape.update_s(work))
    every = all_cells() + kills
    cells = {"fast": fast_cells(), "kills": kills, "all": every}[wanted]
    results = run_cells(cells, shape, work, reference, say)
    report = Report(results, len(results) == len(cells))
    page.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(page) as partial:
        partial.write_text(render([result for cell in every if (result := kept(cell, work))]), encoding="utf-8")
    return report


def run_cells(
    cells: Sequence[Cell], shape: SmallRun, work: Path, reference: Ledger, say: Callable[[str], None]
) -> list[Result]:
    """The results of all cells, as far as their faults could be done; those that lie in `work` are read."""
    results = {cell: result for cell in cells if (result := kept(cell, work))}
    left = [cell for cell in cells if cell not in results]
    while left:
        series = place(left, shape)
        say(f"{len(results)} of {len(cells)} faults done; next: {', '.join(placed.cell.name for placed in series)}")
        try:
            found = hurt_run(series, shape, work / "runs" / series[0].cell.name, reference)
        except FaultFailed as error:
            say(str(error))
            left.remove(error.cell)
            continue
        keep(found, work)
        for result in found:
            say(f"{result.cell.name}: {result.outcome}, {result.audit}, {result.message}")
            results[result.cell] = result
            left.remove(result.cell)
    return [results[cell] for cell in cells if cell in results]


def render(results: Sequence[Result]) -> str:
    """The page in Markdown."""
    faults = [replace(one, message=_SITE.sub("process …", one.message)) for one in results]
    faults = [one for one in faults if one.cell.role != WHOLE]
    outcomes = [result.outcome for result in faults]
    return (
        markdown_templates()
        .get_template("faults.md.j2")
        .render(
            results=faults,
            killed=[one for one in results if one.cell.role == WHOLE],
            sound=sum(result.sound for result in faults),
            alone=outcomes.count(WENT_ON),
            resumed=outcomes.count(RESUMED),
            gone=outcomes.count(LOST),
            faults=FAULTS,
            matrix=len(all_cells()),
        )
    )
