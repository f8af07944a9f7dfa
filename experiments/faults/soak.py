"""Whether memory stays flat: trains for a while and watches every process of the run and the object store.

    .venv/bin/python -m experiments.faults.soak [--minutes 120] [--out runs/soak]
    .venv/bin/python -m experiments.faults.soak --kept runs/soak.memory.jsonl

Both policies train in alternation, so that learners are started and ended again and again; they are told apart by the
policy that they train. After every update the memory that each process has for itself (its unique set size) is added up
by role. The first part of the run warms up and is left out; over the rest a line is fitted. *Flat*: from its beginning
to its end the line rises by less than 3 % of where it began, or by less than 16 MB. Every sample, process by process,
is kept in OUT.memory.jsonl; `--kept` judges the samples of an earlier soak, and so does a run that ended too early.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.table import Table

from experiments.faults.watched_run import DRIVER, TITLES, WatchedRun
from presets.errors import RunFailed

_SETTINGS = (
    "stages=[{stage: alternate, updates: 20000, switch_every: 3}]",
    "rollout.turns=1",
    "rollout.prompts_per_update=2",
    "rollout.group_size=4",
    "rollout.max_tries=100",  # after hours many a prompt has nothing left to teach
    "evaluation.prompts=0",
    "checkpoint.every=3",
)
_START_S = 600.0
_UPDATE_S = 300.0
_WARM_UP = 0.3  # share of the samples that are left out
_FLAT_SHARE, _FLAT_BYTES = 0.03, 16e6
STORE, OTHERS = "object store", "Ray and the rest"


@dataclass(frozen=True)
class Course:
    """Memory of one role over the run, in bytes: the fitted line's `begin` and `end`, and the `most` there was."""

    role: str
    begin: float
    end: float
    most: float

    @property
    def flat(self) -> bool:
        """Whether the line does not rise."""
        return self.end - self.begin < max(_FLAT_SHARE * self.begin, _FLAT_BYTES)


def courses(samples: Sequence[Mapping[str, float]]) -> list[Course]:
    """A line for each role through its samples without the warm-up; a role that is absent from a sample, as a learner
    between two policies, has no point there.

    Raises:
        ValueError: fewer than 4 samples are left of some role.
    """
    kept = samples[int(_WARM_UP * len(samples)) :]
    found = []
    for role in sorted({role for sample in kept for role in sample}):
        points = np.array([(x, sample[role]) for x, sample in enumerate(kept) if role in sample])
        if len(points) < 4:
            raise ValueError(f"{role}: {len(points)} samples after the warm-up; 4 are needed: let it run longer")
        slope, level = np.polyfit(points[:, 0], points[:, 1], 1)
        found.append(Course(role, level, level + slope * (len(kept) - 1), points[:, 1].max()))
    return found


def memory_by_process(processes: Sequence[psutil.Process]) -> dict[int, tuple[str, float]]:
    """The title of each process and the bytes that it has for itself, by its number."""
    found = {}
    for process in processes:
        try:
            found[process.pid] = " ".join(process.cmdline()), float(process.memory_full_info().uss)
        except psutil.NoSuchProcess:
            continue
    return found


def memory_by_role(processes: Mapping[int, tuple[str, float]], driver: int, policy: str) -> dict[str, float]:
    """Bytes that processes have for themselves, added up by role, while a learner trains `policy`."""
    found: dict[str, float] = {}
    for pid, (title, unique) in processes.items():
        role = next((role for role, start in TITLES.items() if title.startswith(start)), OTHERS)
        if pid == driver:
            role = DRIVER
        if role == "learner":
            role = f"{policy}'s learner"
        found[role] = found.get(role, 0.0) + unique
    return found


def watch(run: WatchedRun, minutes: float, kept: Path) -> None:
    """Add a sample after each update to the file `kept`, a line of JSON, until the time is over.

    Raises:
        RunFailed: the run ended, or an update took too long.
    """
    position = run.wait_for(lambda event: event["event"] == "update", "the first update", _START_S)
    ends = time.monotonic() + 60 * minutes
    while time.monotonic() < ends:
        update, processes = run.events[position][1], memory_by_process(run.processes())
        sample = {"policy": update["stage"], "driver": run.process.pid, "processes": processes}
        with kept.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({**sample, STORE: update["object_store_bytes"]}) + "\n")
        position = run.wait_for(lambda event: event["event"] == "update", "the next update", _UPDATE_S, position + 1)


def samples_in(kept: Path) -> list[dict[str, float]]:
    """What `watch` has kept: bytes by role, a sample for each update."""
    found = []
    for line in kept.read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        processes = {int(number): one for number, one in sample["processes"].items()}
        found.append({**memory_by_role(processes, sample["driver"], sample["policy"]), STORE: sample[STORE]})
    return found


def main(
    minutes: Annotated[float, typer.Option(min=1)] = 120.0,
    preset: Annotated[Path, typer.Option(exists=True)] = Path("presets/tiny/run.yaml"),
    out: Annotated[Path, typer.Option(help="The run's folder; what it holds is deleted.")] = Path("runs/soak"),
    kept: Annotated[Path | None, typer.Option(exists=True, help="Judge these samples; nothing is run.")] = None,
) -> None:
    failed = None
    if kept is None:
        kept = out.with_suffix(".memory.jsonl")
        failed = _soak(minutes, preset, out, kept)
    console = Console(width=100)
    if failed:
        console.print(f"the run ended too early: {failed}", markup=False)
    samples = samples_in(kept)
    found = courses(samples)
    table = Table("role", "begins at MB", "ends at MB", "most MB", "flat", title=f"{len(samples)} updates")
    for course in found:
        numbers = (f"{value / 1e6:.1f}" for value in (course.begin, course.end, course.most))
        table.add_row(course.role, *numbers, "yes" if course.flat else "NO")
    console.print(table)
    raise typer.Exit(0 if not failed and all(course.flat for course in found) else 1)


def _soak(minutes: float, preset: Path, out: Path, kept: Path) -> str | None:
    """Keep samples of a run, and say why it ended too early, if it did."""
    shutil.rmtree(out, ignore_errors=True)
    kept.unlink(missing_ok=True)
    settings = [part for setting in _SETTINGS for part in ("--set", setting)]
    with WatchedRun([str(preset), *settings, "--out", str(out)], out.with_suffix(".log")) as run:
        try:
            watch(run, minutes, kept)
        except RunFailed as error:
            if not kept.is_file():
                raise
            return f"{error}; it said: {run.message}"
    return None


if __name__ == "__main__":
    typer.run(main)
