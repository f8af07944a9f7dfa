"""What the rows of an update cost: CPU-seconds of the driver, and bytes on the disk.

    .venv/bin/python -m benchmarks.trajectories [PRESET] [--set key=value]

Another process makes the turns of one update of the preset's size, and their table, as an EnvRunner does; its seconds
are not the driver's. The driver reads the table, makes the learner's samples of it, which decodes the images that
groups start from, and writes the update's file, once with each `keep`. Models play no part.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.clock import Clock, total
from benchmarks.trajectories.update import write_tables
from presets.keep import KEPT, KeepConfig
from presets.run_config import RunConfig
from presets.run_file import load_config
from rollout.groups.batches import actor_samples, describe, editor_samples
from rollout.trajectory import from_table, write_parquet

_KIB, _MIB = 2**10, 2**20
_PRESET = Path("presets/cluster.yaml")
_NO_DATA = ("data.source=shape_world", "data.path=null")  # the turns are made up


def main(
    preset: Annotated[Path, typer.Argument(help="Run file whose sizes count.")] = Path("presets/cluster.yaml"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value of the run file.")] = None,
) -> None:
    """Print a table for each policy."""
    config = load_config(preset, [*_NO_DATA, *(set_ or [])])
    for stage in ("actor", "editor"):
        with tempfile.TemporaryDirectory() as scratch:
            Console().print(measure(config, stage, Path(scratch)))


def measure(config: RunConfig, stage: str, folder: Path) -> Table:
    """The driver's part of one update; it leaves files in `folder`."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as others:
        spent = others.submit(write_tables, config, stage, folder).result()
    clock, turns = Clock(), []
    with clock.part("receive"):
        for file in sorted(folder.glob("*.arrow")):
            turns += from_table(pa.ipc.open_file(pa.memory_map(str(file))).read_all())
    with clock.part("samples"):
        describe(turns)
        samples = len(actor_samples(turns) if stage == "actor" else editor_samples(turns))
    common = clock.take()
    title = f"{stage}: {len(turns)} turns of {config.diffuser.size.plain} px, {samples} samples; driver's CPU seconds"
    table = Table("keep", "receive", "samples", "write", "all", "MiB", "KiB a turn", title=title)
    for kept in KEPT:
        path = folder / f"{kept}.parquet"
        with clock.part("write"):
            write_parquet(turns, path, KeepConfig(actor=kept, editor=kept))
        parts = common | clock.take()
        seconds = [*(parts[name].cpu for name in ("receive", "samples", "write")), total(parts).cpu]
        size = path.stat().st_size
        table.add_row(kept, *(f"{one:.2f}" for one in seconds), f"{size / _MIB:.1f}", f"{size / _KIB / len(turns):.1f}")
    table.caption = f"to encode and put together, in the other process: {spent.cpu:.1f} CPU s in {spent.wall:.1f} s"
    return table


if __name__ == "__main__":
    typer.run(main)
