"""`rlrig results`: train every arm with every seed, evaluate all of them on the same prompts, write the page."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.archive import Archive
from experiments.cells import Cell, arm_cells, sweep_cells
from experiments.evaluation import Evaluation
from experiments.jobs import is_done, run_job
from experiments.judge import Judge
from experiments.page import Sweep as SweepTable
from experiments.page import SweepPoint, write_page
from experiments.plan import Plan, TrainingJob
from experiments.provenance import Provenance
from experiments.rows import Row
from experiments.served_weights import ServedWeights
from measuring.reward_gap import trends
from presets.errors import BadInput, RunFailed
from presets.run_file import load_config
from reports.reading.metrics import read_metrics
from rlrig.run_folder import RunFolder
from rollout.local_ray import ray_for_run
from rollout.models import start_models
from rollout.progress import Progress
from scenes.whole_file import whole_file

JOB_DEADLINE_S = 3600.0
_RECORD = "evaluation.json"
_OF_TREND = ("policy", "updates", "reward_rise", "truth_rise", "gamed")
_EVALUATION = ["diffuser.workers=2"]  # nothing trains beside it


def make_results(
    plan: Plan,
    preset: Path,
    judge: Path,
    work: Path,
    rows: Path,
    docs: Path,
    say: Callable[[str], None],
    train: bool = True,
) -> list[str]:
    """Do what is not done yet, and write `results.md`, `results.json` and the plots into `docs`: once the arms are
    evaluated, and again once the sweeps are.

    Args:
        work: folder of the training runs; those that are there are resumed, or used where they are done.
        rows: folder of the archive; a training run whose cells are all in it is not needed any more.
        train: False evaluates what is trained already, and leaves the rest out of the page.

    A job that fails is left out of the page and named in what is returned; everything else goes on.

    Raises:
        BadInput: the judge's folder is missing, the preset is refused, or runs or rows were made from something else.
    """
    if not (judge / "config.json").is_file():
        raise BadInput(f"--judge {judge}: holds no model; make one with `rlrig pretrain judge`")
    results = _Results(plan, preset, judge, work, Archive(rows), say)
    sweeps = list(dict.fromkeys(one.cell for one in sweep_cells(plan)))
    for cells, jobs in ((arm_cells(plan), plan.arm_jobs()), (sweeps, plan.sweep_jobs())):
        if cells:
            results.make(cells, [job for job in jobs if train or is_done(work / job.folder)])
            write_page(results.rows(), results.tables(), results.facts(), docs)
    return results.failures


@dataclass
class _Results:
    """One call of `make_results`."""

    plan: Plan
    preset: Path
    judge: Path
    work: Path
    archive: Archive
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.config = load_config(self.preset, _EVALUATION)
        self.provenance = Provenance(self.preset, self.judge)
        self.failures: list[str] = []

    def make(self, cells: Sequence[Cell], jobs: Sequence[TrainingJob]) -> None:
        """Train what these cells need, then evaluate them."""
        missing = [cell for cell in cells if self._kept(cell) is None]
        needed = {cell.job for cell in missing if cell.job}
        for job in jobs:
            if job in needed or self._record(job) is None:
                self._train(job)
        able = [cell for cell in missing if cell.job is None or is_done(self.work / cell.job.folder)]
        if able:
            self._evaluate(able)

    def rows(self) -> list[Row]:
        """The rows of the arms, as far as they are there."""
        return [row for cell in arm_cells(self.plan) for row in self._kept(cell) or []]

    def tables(self) -> list[SweepTable]:
        """The tables of the sweeps, with the settings that are there."""
        points: dict[str, list[SweepPoint]] = {}
        for one in sweep_cells(self.plan):
            default = not one.setting.overrides and one.setting.turns is None
            rows = self._kept(one.cell) or []
            points.setdefault(one.sweep.name, []).append(SweepPoint(one.setting.label, default, rows))
        return [SweepTable(sweep.name, sweep.what, points[sweep.name]) for sweep in self.plan.sweeps]

    def facts(self) -> dict[str, Any]:
        """What was run, for the page."""
        records = {job.folder: record for job in self.plan.jobs() if (record := self._record(job))}
        minutes = {"train": sum(one["minutes"] for one in records.values()), "evaluate": self._evaluated()}
        return facts_of(self.plan, records, minutes, self.failures)

    def _kept(self, cell: Cell) -> list[Row] | None:
        return self.archive.rows(cell.name, self.provenance.of_cell(cell))

    def _record(self, job: TrainingJob) -> dict[str, Any] | None:
        return self.archive.run(job.folder, self.provenance.of_job(job))

    def _train(self, job: TrainingJob) -> None:
        try:
            folder = run_job(job, self.preset, self.work, JOB_DEADLINE_S, self.say)
        except RunFailed as error:
            self.failures.append(str(error))
            self.say(f"failed: {error}")
            return
        minutes = (RunFolder(folder).read_json("summary.json") or {})["minutes"]
        lines, _ = read_metrics(folder / "metrics.jsonl")
        found = [{key: asdict(one)[key] for key in _OF_TREND} for one in trends(lines)]
        self.archive.keep_run(job.folder, self.provenance.of_job(job), {"minutes": minutes, "trends": found})

    def _evaluate(self, cells: Sequence[Cell]) -> None:
        began = time.monotonic()
        config, start = self.config, {"actor": self.config.models.actor, "editor": self.config.models.edits_with}
        with ray_for_run(config.ray):
            models = start_models(config, Progress())
            try:
                weights = ServedWeights(models, {policy: Path(path) for policy, path in start.items()})
                where = (self.work, self.archive, self.provenance)
                Evaluation(self.plan, models, weights, Judge(self.judge), *where, self.say).evaluate(cells)
            finally:
                models.close(keep_serve=config.ray.address is None)
                self._add_minutes((time.monotonic() - began) / 60)

    def _evaluated(self) -> float:
        """Minutes of evaluating, all calls added up."""
        record = self.archive.folder / _RECORD
        return json.loads(record.read_text(encoding="utf-8"))["minutes"] if record.is_file() else 0.0

    def _add_minutes(self, minutes: float) -> None:
        total = self._evaluated() + minutes
        self.archive.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.archive.folder / _RECORD) as part:
            part.write_text(json.dumps({"minutes": total}), encoding="utf-8")


def facts_of(
    plan: Plan, records: Mapping[str, dict[str, Any]], minutes: dict[str, float], failures: list[str]
) -> dict[str, Any]:
    """What was run, for the page; `records` are those of the archive by the folder of the run."""
    return {
        "fast": plan.fast,
        "seeds": list(plan.seeds),
        "updates": {"Actor": plan.actor_updates, "editor": plan.editor_updates},
        **_of_sweeps(plan),
        "prompts": plan.prompts,
        "harder_prompts": plan.harder,
        "minutes": minutes,
        "device": f"{os.cpu_count()} CPU cores",
        "failures": failures,
        "trends": [{"run": run, **one} for run, record in records.items() for one in record["trends"]],
        "command": "make results FAST=1" if plan.fast else "make results",
    }


def _of_sweeps(plan: Plan) -> dict[str, str]:
    if not plan.sweeps:
        return {}
    return {"updates in a run of a sweep": f"Actor {plan.sweep_actor_updates}, editor {plan.sweep_editor_updates}"}
