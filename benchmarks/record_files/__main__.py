"""Processor time and memory for a data set of a million records: `python -m benchmarks.record_files`.

Records of LAION-SG's form are made and written to a file, some of which cannot be used. Then the file is read as a run
reads it, with every usable record among its prompts. Exit code 1 if a target is missed, or a count is wrong.
"""

from __future__ import annotations

import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.clock import Seconds
from benchmarks.record_files.made_records import write_made_records
from presets.data import DataConfig
from rollout.prompts import load_prompts

MOST_CPU_S, MOST_MIB = 30.0, 1500.0  # for a million records
DRAWN = 10_000  # prompts


@dataclass(frozen=True)
class Cost:
    """What reading a file cost."""

    file_mib: float
    seconds: Seconds
    peak_mib: float
    """The greatest memory of the whole process, with Python and its modules."""
    train: int
    held_out: int
    draw_us: float
    """Microseconds of processor time for a prompt that is drawn."""
    notes: tuple[str, ...]


def measured(path: Path) -> Cost:
    """Read a file as a run does, and draw prompts."""
    data = DataConfig(
        source="laion_sg", path=str(path), relations=(1, 5), train_size=10_000_000, held_out_size=10_000_000
    )
    began = Seconds.now()
    prompts = load_prompts(data, seed=0)
    read = Seconds.now() - began
    for position in range(DRAWN):
        prompts.at(position)
    drawn = Seconds.now() - began - read
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(
        path.stat().st_size / 2**20,
        read,
        peak,
        len(prompts.train),
        len(prompts.held_out),
        drawn.cpu / DRAWN * 1e6,
        prompts.notes,
    )


def main(
    records: Annotated[int, typer.Option(min=1000, help="Records in the file.")] = 1_000_000,
    lines: Annotated[bool, typer.Option("--lines", help="JSON Lines instead of an array.")] = False,
    odd: Annotated[float, typer.Option(min=0, max=0.9, help="Share of records that cannot be used.")] = 0.01,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Print what it cost, and whether the targets are met."""
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("records.jsonl" if lines else "records.json")
        wrong = write_made_records(path, records, odd, seed)
        cost = measured(path)
    console.print(
        f"{records:,} records, {cost.file_mib:,.0f} MiB of JSON{' Lines' if lines else ''}: "
        f"{cost.seconds.cpu:.1f} CPU seconds, {cost.seconds.wall:.1f} s, {cost.peak_mib:,.0f} MiB at the peak; "
        f"{cost.train:,} to train on, {cost.held_out:,} held out; {cost.draw_us:.0f} µs to draw a prompt"
    )
    for note in cost.notes:
        console.print(note, markup=False)
    counted = all(any(f" {count:,} left out, {why};" in note for note in cost.notes) for why, count in wrong.items())
    met = {
        f"at most {MOST_CPU_S:g} CPU seconds for a million": cost.seconds.cpu <= MOST_CPU_S * max(records / 1e6, 0.1),
        f"at most {MOST_MIB:,.0f} MiB": cost.peak_mib <= MOST_MIB,
        "each record that cannot be used is counted": counted or not odd,
    }
    for text, reached in met.items():
        console.print(f"{'met' if reached else 'NOT MET':8}{text}")
    if not all(met.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
