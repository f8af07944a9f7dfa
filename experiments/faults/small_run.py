"""The training run that is hurt: both policies, few groups, a checkpoint after every update, short deadlines."""

from __future__ import annotations

import shutil
from pathlib import Path

from experiments.faults.audit import Ledger, read_ledger
from experiments.faults.watched_run import WatchedRun
from rollout.errors import RunFailed

UPDATES = 2  # of each policy, the Actor first
SETTINGS = (
    f"stages=[{{stage: actor, updates: {UPDATES}}}, {{stage: editor, updates: {UPDATES}}}]",
    "rollout.turns=1",
    "rollout.prompts_per_update=2",
    "rollout.group_size=4",
    "rollout.deadline_s=120",
    "diffuser.call_deadline_s=20",
    "editor.call_deadline_s=20",
    "rollout.restart_s=90",
    "diffuser.workers=1",
    "editor.workers=1",
    "learner.editor.ranks=1",
    "evaluation.prompts=0",
    "checkpoint.every=1",
    "vlm.actor.call_deadline_s=20",
    "vlm.checker.call_deadline_s=20",
    "learner.actor.deadline_s=40",
    "learner.editor.deadline_s=40",
)
RUN_DEADLINE_S = 900.0


def start(preset: Path, folder: Path, settings: tuple[str, ...] = ()) -> WatchedRun:
    """A new run in `folder`."""
    given = [part for setting in (*SETTINGS, *settings) for part in ("--set", setting)]
    return WatchedRun([str(preset), *given, "--out", str(folder)], folder.with_suffix(".log"))


def resume(folder: Path) -> WatchedRun:
    """The run in `folder`, from its last checkpoint on."""
    return WatchedRun(["--resume", "--out", str(folder)], folder.with_suffix(".log"))


def undisturbed(preset: Path, work: Path) -> Ledger:
    """The ledger of a run that nothing happens to; it is made once for each folder `work`.

    Raises:
        RunFailed: it did not end well.
    """
    folder = work / "undisturbed"
    if not (folder / "summary.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        with start(preset, folder) as run:
            if (code := run.wait(RUN_DEADLINE_S)) != 0:
                raise RunFailed(f"the undisturbed run ended with exit code {code}: {run.message}; see {run.log}")
    return read_ledger(folder)
