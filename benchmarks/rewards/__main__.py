"""The share of an update's wall time that eight scorers take.

    .venv/bin/python -m benchmarks.rewards [PRESET] [--updates N] [--set key=value]

It trains the Actor, then the editor, with six scorers in the EnvRunners, one in a fleet and one over HTTP. The share of
a scorer is the wall clock of its calls over that of the updates. Calls overlap, so that their sum is an upper bound of
what all of them take. The first update of each policy is left out: its learner starts in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.rewards.service import serving
from presets.errors import BadInput, RunFailed
from presets.places import TINY
from reports.reading.metrics import read_metrics

REACH = 0.10
_DEADLINE_S = 3600


def entries(url: str) -> list[dict[str, Any]]:
    """The eight scorers, as a run file lists them."""
    here = ("kept_requirements", "preservation", "sharpness", "artifact", "length")
    return [
        {"scorer": "checker"},
        *({"scorer": name, "weight": 0.1, "normalise": "group"} for name in here),
        {"scorer": "preservation", "name": "in_a_fleet", "weight": 0.1, "fleet": {"cpus": 0.1}},
        {"scorer": "http", "name": "over_http", "weight": 0.1, "http": {"url": url}},
    ]


def shares(lines: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Seconds of an update in the mean, and the share of its wall clock, by scorer; those that did not count for any of
    the updates are left out.

    Raises:
        BadInput: no update after the first one of a policy.
    """
    policies = [line["stage"] for line in lines]
    kept = [line for place, line in enumerate(lines) if line["stage"] in policies[:place]]
    if not kept:
        raise BadInput("--updates: there is no update after the first one of a policy; give at least 2")
    wall = sum(line["seconds_total"] for line in kept)
    names = dict.fromkeys(name for line in kept for name in line["scorer_seconds"])
    spent = {name: sum(line["scorer_seconds"].get(name, 0.0) for line in kept) for name in names}
    return {name: (seconds / len(kept), seconds / wall) for name, seconds in spent.items()}


def train(preset: Path, updates: int, more: Sequence[str], folder: Path) -> None:
    """One run with the eight scorers.

    Raises:
        RunFailed: it failed, or took more than an hour.
    """
    stages = [{"stage": stage, "updates": updates} for stage in ("actor", "editor")]
    with serving() as url:
        settings = [
            f"stages={json.dumps(stages)}",
            f"rewards={json.dumps(entries(url))}",
            "evaluation.prompts=0",
            *more,
        ]
        command = [sys.executable, "-m", "rlrig.cli", "train", str(preset), "--out", str(folder)]
        command += [word for setting in settings for word in ("--set", setting)]
        try:
            done = subprocess.run(command, timeout=_DEADLINE_S, capture_output=True, text=True, check=False)
        except subprocess.TimeoutExpired as error:
            raise RunFailed(f"the run took more than {_DEADLINE_S} s") from error
    if done.returncode != 0:
        raise RunFailed(f"the run failed: {done.stderr[-2000:]}")


def main(
    preset: Annotated[Path, typer.Argument(help="Run file.")] = TINY,
    updates: Annotated[int, typer.Option(min=2, help="Of each policy.")] = 3,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value of the run file.")] = None,
) -> None:
    """Print seconds and share of each scorer."""
    with tempfile.TemporaryDirectory() as scratch:
        train(preset, updates, set_ or [], Path(scratch) / "run")
        lines, _ = read_metrics(Path(scratch) / "run" / "metrics.jsonl")
    found = shares(lines)
    table = Table("scorer", "s an update", "% of its wall clock")
    for name, (seconds, share) in found.items():
        table.add_row(name, f"{seconds:.4f}", f"{share:.2%}")
    total = sum(share for _, share in found.values())
    table.add_row("all, if none overlapped", f"{sum(seconds for seconds, _ in found.values()):.4f}", f"{total:.2%}")
    Console().print(table)
    Console().print(f"reach: at most {REACH:.0%}, {'met' if total <= REACH else 'missed'}")


if __name__ == "__main__":
    typer.run(main)
