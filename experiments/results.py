"""`rlrig results`: train every arm with every seed, evaluate all of them on the same prompts, write the page."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.evaluation import Evaluation
from experiments.jobs import run_job
from experiments.judge import Judge
from experiments.page import Sweep as SweepTable
from experiments.page import SweepPoint, write_page
from experiments.plan import Plan, TrainingJob
from experiments.rows import Row
from experiments.served_weights import ServedWeights
from rollout.config import RunConfig
from rollout.config_file import load_config
from rollout.errors import BadInput, RunFailed
from rollout.local_ray import ray_for_run
from rollout.models import start_models
from rollout.progress import Progress
from rollout.reward_gap import trends
from rollout.run_folder import RunFolder
from rollout.run_record import read_metrics
from scenes.whole_file import whole_file

JOB_DEADLINE_S = 3600.0
_RECORD = "evaluation.json"
_EVALUATION = ["diffuser.workers=2"]  # nothing trains beside it


def make_results(
    plan: Plan, preset: Path, judge: Path, work: Path, docs: Path, say: Callable[[str], None]
) -> list[str]:
    """Do what is not done yet in `work`, and write `results.md`, `results.json` and the plots into `docs`: once the
    arms are evaluated, and again once the sweeps are.

    A job that fails is left out of the page and named in what is returned; everything else goes on.

    Raises:
        BadInput: the judge's folder is missing, or the preset is refused.
    """
    if not (judge / "config.json").is_file():
        raise BadInput(f"--judge {judge}: holds no model; make one with `rlrig pretrain judge`")
    config = load_config(preset, _EVALUATION)
    failures: list[str] = []
    for part, with_sweeps in ((plan.arm_jobs(), False), (plan.sweep_jobs(), True)):
        if part:
            failures += _train(part, preset, work, say)
            rows, tables = _evaluate(plan, config, judge, work, say, with_sweeps)
            write_page(rows, tables, facts_of(plan, work, _minutes(work, plan.jobs()), failures), docs)
    return failures


def _train(jobs: list[TrainingJob], preset: Path, work: Path, say: Callable[[str], None]) -> list[str]:
    """Run the jobs, one after the other; returns what failed."""
    failures = []
    for number, job in enumerate(jobs, start=1):
        say(f"run {number} of {len(jobs)}: {job.folder}")
        try:
            run_job(job, preset, work, JOB_DEADLINE_S, say)
        except RunFailed as error:
            failures.append(str(error))
            say(f"failed: {error}")
    return failures


def _evaluate(
    plan: Plan, config: RunConfig, judge: Path, work: Path, say: Callable[[str], None], with_sweeps: bool
) -> tuple[list[Row], list[SweepTable]]:
    """Rows of all arms and, if asked for, the tables of the sweeps; adds its minutes to `evaluation.json`."""
    began = time.monotonic()
    start = {"actor": Path(config.models.actor), "editor": Path(config.models.edits_with)}
    with ray_for_run(config.ray):
        models = start_models(config, Progress())
        try:
            evaluation = Evaluation(plan, models, ServedWeights(models, start), Judge(judge), work, say)
            rows = evaluation.arms()
            tables = _tables(plan, evaluation) if with_sweeps else []
        finally:
            models.close(keep_serve=config.ray.address is None)
            _add_minutes(work, (time.monotonic() - began) / 60)
    return rows, tables


def _tables(plan: Plan, evaluation: Evaluation) -> list[SweepTable]:
    points: dict[str, list[SweepPoint]] = {}
    for sweep, setting, rows in evaluation.sweeps():
        default = not setting.overrides and setting.turns is None
        points.setdefault(sweep.name, []).append(SweepPoint(setting.label, default, rows))
    return [SweepTable(sweep.name, sweep.what, points[sweep.name]) for sweep in plan.sweeps if sweep.name in points]


def _minutes(work: Path, jobs: list[TrainingJob]) -> dict[str, float]:
    """Minutes of training, from the runs' own summaries, and of evaluating, all calls added up."""
    summaries = [RunFolder(work / job.folder).read_json("summary.json") or {} for job in jobs]
    return {"train": sum(one.get("minutes", 0.0) for one in summaries), "evaluate": _evaluated(work)}


def _evaluated(work: Path) -> float:
    record = work / _RECORD
    return json.loads(record.read_text(encoding="utf-8"))["minutes"] if record.is_file() else 0.0


def _add_minutes(work: Path, minutes: float) -> None:
    total = _evaluated(work) + minutes
    with whole_file(work / _RECORD) as part:
        part.write_text(json.dumps({"minutes": total}), encoding="utf-8")


def facts_of(plan: Plan, work: Path, minutes: dict[str, float], failures: list[str]) -> dict[str, Any]:
    """What was run, for the page."""
    return {
        "fast": plan.fast,
        "seeds": list(plan.seeds),
        "updates": plan.updates,
        "prompts": plan.prompts,
        "harder_prompts": plan.harder,
        "minutes": minutes,
        "device": f"{os.cpu_count()} CPU cores",
        "failures": failures,
        "trends": [
            {"run": job.folder, **asdict(one)}
            for job in plan.jobs()
            for one in trends(read_metrics(work / job.folder / "metrics.jsonl")[0])
        ],
        "command": "make results FAST=1" if plan.fast else "make results",
    }
