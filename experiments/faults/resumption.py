"""Kills a whole run at random moments and resumes it, until it ends: it must end as an undisturbed one does."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.faults.audit import Audit, Ledger, audit, read_ledger
from experiments.faults.small_run import RUN_DEADLINE_S, resume, start
from experiments.faults.watched_run import WatchedRun
from rollout.errors import RunFailed
from rollout.run_folder import RunFolder


@dataclass(frozen=True)
class Resumption:
    """The run was killed `after` these seconds, with so many `updates` complete; and what it ended like."""

    after: float
    updates: int
    audit: Audit


def kill_and_resume(
    moments: int, seed: int, preset: Path, work: Path, reference: Ledger, say: Callable[[str], None]
) -> list[Resumption]:
    """Kill a new run at each of `moments` random times of its life, and resume it.

    Raises:
        RunFailed: a resumed run did not end well.
    """
    rng = np.random.default_rng(seed)
    length = _seconds_of(work / "undisturbed")
    found = []
    for number in range(moments):
        after = float(rng.uniform(0.3, 0.98) * length)
        folder = work / "killed" / f"{seed}-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        with start(preset, folder) as run:
            time.sleep(after)
            run.kill_all()
        complete = RunFolder(folder).checkpoints()
        # Before its first checkpoint there is nothing to go on from: it starts anew.
        again = resume(folder) if complete else _anew(preset, folder)
        with again:
            if (code := again.wait(RUN_DEADLINE_S)) != 0:
                raise RunFailed(
                    f"killed after {after:.1f} s, resumed, exit code {code}: {again.message}; see {again.log}"
                )
        updates = int(complete[-1].name) if complete else 0
        found.append(Resumption(after, updates, audit(reference, read_ledger(folder))))
        say(f"killed after {after:.1f} s with {updates} updates, resumed: {found[-1].audit}")
    return found


def _anew(preset: Path, folder: Path) -> WatchedRun:
    shutil.rmtree(folder, ignore_errors=True)
    return start(preset, folder)


def _seconds_of(run: Path) -> float:
    return 60.0 * (RunFolder(run).read_json("summary.json") or {})["minutes"]
