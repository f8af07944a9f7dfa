"""Throughput of rollout schedules from 8 to 4,096 simulated workers: `python -m benchmarks.schedule`.

Workers, latencies and failures are simulated (`benchmarks/simulated_fleet.py`); the scheduler is the one of
`rollout/scheduling/scheduler.py`. Exit code 1 if a target is missed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.simulated_fleet import Call, Measurement, Setting, Simulation, make_scheduler
from benchmarks.synchronous_rounds import SynchronousRounds
from rollout.scheduling.scheduler import Scheduler

SIZES = (8, 64, 512, 4096)
STALENESS = (0, 1, 2)
MEASURED_GROUPS = 4096  # at least, so that a small fleet's figures are no accident
REPLAYS = 3
LEGEND = """\
busy       share of the editors' time in which they edited; dead ones are idle
useful     share in which they edited for groups that were complete in time
speedup    groups trained on in a second, over the synchronous schedule
age        versions between a group's start and its update: mean ≤ greatest
driver µs  processor time of the scheduler for each group
"""
MIN_BUSY, MIN_SPEEDUP, MAX_GROWTH = 0.95, 1.5, 2.0


@dataclass(frozen=True)
class Row:
    """One line of the table: a schedule on a fleet. `max_staleness` is None for the synchronous schedule."""

    workers: int
    max_staleness: int | None
    measured: Measurement
    speedup: float
    """Groups trained on in a second, relative to the synchronous schedule of the same fleet."""
    driver_us: float | None
    """Microseconds of processor time that the scheduler takes for each group that ran."""


@dataclass(frozen=True)
class Target:
    """What the schedules must reach, and whether they do."""

    text: str
    found: str
    met: bool


def compare(sizes: Sequence[int], setting: Setting, staleness: Sequence[int] = STALENESS) -> Iterator[Row]:
    """All schedules on fleets of these sizes, line by line. Small fleets are given more updates than `setting.updates`,
    until `MEASURED_GROUPS` are measured."""
    for workers in sizes:
        sized = replace(setting, workers=workers)
        sized = replace(sized, updates=max(setting.updates, -(-MEASURED_GROUPS // sized.batch)))
        rounds = SynchronousRounds(sized).run()
        yield Row(workers, None, rounds, 1.0, None)
        for max_staleness in staleness:
            measured, calls = Simulation(sized, max_staleness).run()
            speedup = measured.groups_per_s / rounds.groups_per_s
            yield Row(workers, max_staleness, measured, speedup, driver_us(sized, max_staleness, calls))


def driver_us(setting: Setting, max_staleness: int, calls: Sequence[Call]) -> float:
    """Microseconds of processor time that a new scheduler takes for each group when it is told `calls` again; the
    least of `REPLAYS`."""
    collecting = gc.isenabled()
    gc.disable()  # the recorded calls are millions of objects, which are none of the scheduler's
    try:
        seconds = min(_replay(make_scheduler(setting, max_staleness), calls) for _ in range(REPLAYS))
    finally:
        if collecting:
            gc.enable()
    return 1e6 * seconds / sum(method == "finished" for method, _, _ in calls)


def _replay(scheduler: Scheduler[int, float], calls: Sequence[Call]) -> float:
    bound = [(getattr(scheduler, method), arguments, options) for method, arguments, options in calls]
    began = time.process_time()
    for method, arguments, options in bound:
        method(*arguments, **options)
    return time.process_time() - began


def targets(rows: Sequence[Row], heavy_tailed: bool = True) -> list[Target]:
    """The targets for `max_staleness=1`, on every fleet of the table. That of throughput is for heavy-tailed latencies:
    without stragglers there is less to gain."""
    found = [row for row in rows if row.max_staleness == 1]
    busy = min(row.measured.busy - row.measured.wasted for row in found)
    speedup = min(row.speedup for row in found)
    oldest = max(row.measured.max_age - row.max_staleness for row in rows if row.max_staleness is not None)
    costs = [row.driver_us for row in found if row.driver_us is not None]
    growth = max(costs) / min(costs)
    gain = Target(f"throughput at least {MIN_SPEEDUP} times synchronous", f"{speedup:.2f}", speedup >= MIN_SPEEDUP)
    return [
        Target(f"useful utilisation of the editors at least {MIN_BUSY:.0%}", f"{busy:.1%}", busy >= MIN_BUSY),
        *([gain] if heavy_tailed else []),
        Target("no group older than max_staleness", "none" if oldest <= 0 else f"{oldest} too many", oldest <= 0),
        Target(
            f"driver time for each group within a factor of {MAX_GROWTH:g} on all fleets",
            f"{growth:.2f}",
            growth <= MAX_GROWTH,
        ),
    ]


def table(rows: Sequence[Row]) -> Table:
    """The rows for a person."""
    shown = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("workers", "schedule", "groups/s", "busy", "useful", "speedup", "age", "driver µs"):
        shown.add_column(column, justify="left" if column == "schedule" else "right", no_wrap=True)
    for row in rows:
        measured = row.measured
        shown.add_row(
            f"{row.workers:,}" if row.max_staleness is None else "",
            "synchronous" if row.max_staleness is None else f"staleness {row.max_staleness}",
            f"{measured.groups_per_s:.3g}",
            f"{measured.busy:.1%}",
            f"{measured.busy - measured.wasted:.1%}",
            f"{row.speedup:.2f}",
            f"{measured.mean_age:.2f} ≤ {measured.max_age}",
            "" if row.driver_us is None else f"{row.driver_us:.1f}",
            end_section=row.max_staleness == STALENESS[-1],
        )
    return shown


def main(
    workers: Annotated[list[int] | None, typer.Option(min=1, help="Size of a fleet; may be repeated.")] = None,
    updates: Annotated[int, typer.Option(min=1, help="Updates that are measured, at least.")] = Setting.updates,
    straggler_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of edits with a heavy-tailed latency.")
    ] = Setting.straggler_rate,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all latencies and failures.")] = Setting.seed,
) -> None:
    """Print the table, and whether each target is met."""
    console = Console()
    setting = Setting(updates=updates, straggler_rate=straggler_rate, seed=seed)
    rows = []
    with console.status("simulating") as status:
        for row in compare(workers or SIZES, setting):
            rows.append(row)
            status.update(f"simulating {row.workers:,} workers")
    console.print(table(rows))
    console.print(LEGEND, highlight=False)
    found = targets(rows, heavy_tailed=straggler_rate > 0)
    for target in found:
        console.print(
            f"{'met' if target.met else 'NOT MET':8}{target.text}: {target.found}", highlight=False, soft_wrap=True
        )
    if not all(target.met for target in found):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
