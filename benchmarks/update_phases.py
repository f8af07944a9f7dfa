"""Where the wall time of an update goes, and how much of it is model compute, from a run's metrics.jsonl.

    .venv/bin/python -m benchmarks.update_phases runs/NAME [--skip N]

Compute is what the model processes themselves report: a replica of the image models its batches, vLLM its answers, the
slowest rank of the learner its update. The rest of a phase is transfer and waiting; `other` is what no phase holds:
starting a learner, moving trajectories, the driver's own statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from presets.errors import BadInput
from reports.reading.metrics import read_metrics

PHASES = ("draw", "reflect", "edit", "check", "learn", "sync")
_KEYS = ("stage", "seconds", "compute_seconds", "seconds_total")


@dataclass(frozen=True)
class StagePhases:
    """Mean seconds of an update of one policy.

    `wall` is by phase, with `other`, and adds up to `total`; `compute` by the phases that hold model compute.
    """

    policy: str
    updates: int
    wall: dict[str, float]
    compute: dict[str, float]

    @property
    def total(self) -> float:
        """Wall clock of an update."""
        return sum(self.wall.values())

    @property
    def compute_share(self) -> float:
        """The part of the wall clock in which a model computes."""
        return sum(self.compute.values()) / self.total


def stage_phases(lines: Sequence[Mapping[str, Any]], skip: int) -> list[StagePhases]:
    """The means of each policy's updates, without the first `skip` of them.

    Raises:
        BadInput: no line, a line that lacks the seconds, or a policy without an update after the first `skip`.
    """
    if not lines:
        raise BadInput("there is no update in metrics.jsonl; give the folder of a run that has made one")
    for number, line in enumerate(lines, start=1):
        if missing := [key for key in _KEYS if key not in line]:
            raise BadInput(f"metrics.jsonl, line {number}: {', '.join(missing)} is missing; train again to measure it")
    found = []
    for policy in dict.fromkeys(line["stage"] for line in lines):
        every = [line for line in lines if line["stage"] == policy]
        kept = every[skip:]
        if not kept:
            raise BadInput(f"--skip {skip} leaves none of {len(every)} updates of the {policy}; lower it")
        wall = {phase: mean(line["seconds"].get(phase, 0.0) for line in kept) for phase in PHASES}
        wall["other"] = mean(line["seconds_total"] for line in kept) - sum(wall.values())
        compute = {phase: mean(line["compute_seconds"].get(phase, 0.0) for line in kept) for phase in PHASES[:-1]}
        found.append(StagePhases(policy, len(kept), wall, compute))
    return found


def phases_table(stage: StagePhases) -> Table:
    """Seconds by phase, their part of the update, and how much of each is model compute."""
    title = f"{stage.policy}: mean of {stage.updates} updates"
    table = Table("phase", "wall s", "% of update", "compute s", "% of update", title=title, title_justify="left")
    rows = [(phase, wall, stage.compute.get(phase)) for phase, wall in stage.wall.items()]
    for phase, wall, compute in [*rows, ("update", stage.total, sum(stage.compute.values()))]:
        shares = ["" if part is None else f"{100 * part / stage.total:.1f}" for part in (wall, compute)]
        table.add_row(phase, f"{wall:.2f}", shares[0], "" if compute is None else f"{compute:.2f}", shares[1])
    return table


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    skip: Annotated[int, typer.Option(min=0, help="Updates of each policy to leave out; its learner starts in 1.")] = 1,
) -> None:
    """Print seconds by phase for each policy of a run."""
    console = Console(width=120)
    try:
        lines, faults = read_metrics(run / "metrics.jsonl")
        stages = stage_phases(lines, skip)
    except BadInput as error:
        console.print(f"{run}: {error}", style="red")
        raise typer.Exit(2) from error
    for text in faults:
        console.print(text, style="yellow")
    for stage in stages:
        console.print(phases_table(stage))
        console.print(f"models compute {100 * stage.compute_share:.1f} % of the wall time of an update\n")


if __name__ == "__main__":
    typer.run(main)
