"""The training run that is hurt: few groups, a checkpoint after every update, short deadlines."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from experiments.faults.audit import Ledger, read_ledger
from experiments.faults.watched_run import WatchedRun
from experiments.plan import stages_setting
from presets.errors import RunFailed
from reports.reading.metrics import read_metrics

_SETTINGS = (
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
    "vlm.actor.start_deadline_s=150",
    "vlm.checker.start_deadline_s=150",
    "learner.actor.deadline_s=40",
    "learner.editor.deadline_s=40",
)
RUN_DEADLINE_S = 900.0


@dataclass(frozen=True)
class SmallRun:
    """Updates of the Actor, and then of the editor, in a run of a preset."""

    preset: Path
    actor: int = 8
    editor: int = 3

    @property
    def updates(self) -> int:
        return self.actor + self.editor

    def start(self, folder: Path, *settings: str) -> WatchedRun:
        """A new run in `folder`, instead of what is there."""
        shutil.rmtree(folder, ignore_errors=True)
        stages = [stage for stage in (("actor", self.actor), ("editor", self.editor)) if stage[1]]
        given = (stages_setting(*stages), *_SETTINGS, *settings)
        options = [part for setting in given for part in ("--set", setting)]
        return WatchedRun([str(self.preset), *options, "--out", str(folder)], folder.with_suffix(".log"))

    def undisturbed(self, work: Path) -> Ledger:
        """The ledger of a run that nothing happens to; it is made once for each folder `work`.

        Raises:
            RunFailed: it did not end well.
        """
        folder = self._undisturbed(work)
        if not (folder / "summary.json").is_file():
            with self.start(folder) as run:
                if (code := run.wait(RUN_DEADLINE_S)) != 0:
                    raise RunFailed(f"the undisturbed run ended with exit code {code}: {run.message}; see {run.log}")
        return read_ledger(folder)

    def update_s(self, work: Path) -> float:
        """Seconds that the shortest update of the undisturbed run took, of which the first one does not count."""
        lines, _ = read_metrics(self._undisturbed(work) / "metrics.jsonl")
        return float(min(line["seconds_total"] for line in lines[1:]))

    def _undisturbed(self, work: Path) -> Path:
        return work / f"undisturbed-{self.actor}-{self.editor}"


def resume(folder: Path) -> WatchedRun:
    """The run in `folder`, from its last checkpoint on."""
    return WatchedRun(["--resume", "--out", str(folder)], folder.with_suffix(".log"))
