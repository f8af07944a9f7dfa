"""`rlrig results` and `rlrig chaos`: the command line finds them as entry points. They import inside what they need."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from presets.errors import BadInput, RunFailed
from presets.places import JUDGE, TINY, preset_at
from rlrig.command import Preset, exit_codes


def results(
    preset: Preset = TINY,
    fast: Annotated[bool, typer.Option("--fast", help="A quick look: one seed, fewer prompts and updates.")] = False,
    judge: Annotated[Path, typer.Option(help="Folder of the judge, a VLM that is not the Checker.")] = JUDGE,
    work: Annotated[Path | None, typer.Option(help="Folder of runs and rows; what is there is not done again.")] = None,
    rows: Annotated[
        Path | None, typer.Option(help="Folder of what was measured, which is not measured again; default in --work.")
    ] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder of the page; default docs, with --fast --work.")] = None,
    train_: Annotated[bool, typer.Option("--train/--no-train", help="Train what is missing, or leave it out.")] = True,
) -> None:
    """Train and evaluate every arm and sweep, and write the page with the results."""
    with exit_codes():
        from experiments.plan import FAST, FULL
        from experiments.results import make_results

        work = work or Path("runs") / ("results-fast" if fast else "results")
        page = docs or (work if fast else Path("docs"))
        console = Console()

        def say(text: str) -> None:
            console.print(f"{time.strftime('%H:%M:%S')} {text}", highlight=False)

        plan = FAST if fast else FULL
        failures = make_results(plan, preset_at(preset), judge, work, rows or work / "rows", page, say, train_)
        say(f"page: {page / 'results.md'}")
        if failures:
            raise RunFailed(f"{len(failures)} runs failed and are left out of the page; the same command tries again")


def chaos(
    preset: Preset = TINY,
    fast: Annotated[bool, typer.Option("--fast", help="Each part, fault and phase at least once.")] = False,
    kills: Annotated[bool, typer.Option("--kills", help="Only the 20 kills of a whole run at random moments.")] = False,
    work: Annotated[Path | None, typer.Option(help="Folder of the runs; what is there is not done again.")] = None,
    page: Annotated[Path | None, typer.Option(help="Default docs/faults.md; for a part, in --work.")] = None,
) -> None:
    """Hurt training runs, one part at a time, and write down what came of it."""
    with exit_codes():
        from experiments.faults.chaos import Wanted, make_chaos

        if fast and kills:
            raise BadInput("--fast, --kills: give one of them; without either, all faults and kills are done")
        work = work or Path("runs") / ("chaos-fast" if fast else "chaos")
        page = page or (work if fast or kills else Path("docs")) / "faults.md"
        console = Console()

        def say(text: str) -> None:
            console.print(f"{time.strftime('%H:%M:%S')} {text}", highlight=False, markup=False)

        wanted: Wanted = "fast" if fast else "kills" if kills else "all"
        report = make_chaos(wanted, preset_at(preset), work, page, say)
        say(f"page: {page}")
        if not report.sound:
            raise RunFailed(f"a fault lost a prompt, was trained on twice or could not be done; see {page}")
