"""What a run left in its folder, as far as it came, read for a report; and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from presets.errors import BadInput
from reports.held_out import read_held_out
from reports.prompt_sums import PromptSums, read_prompt_sums
from reports.provenance.starts import Start, read_starts
from reports.reading.metrics import read_metrics
from reports.reading.settings import read_settings
from reports.reading.summary import is_evaluation, read_summary
from reports.reading.text_file import read_text
from reports.reading.values import is_count
from scenes.harmless_text import harmless, name_of

if TYPE_CHECKING:
    from measuring.evaluation import PromptScores

PARTS = ("config.yaml", "metrics.jsonl", "summary.json", "starts.jsonl", "trajectories", "held_out", "episodes")
"""The files and folders of a run that a report is made of."""
_EVALUATIONS = 50
Line = dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """One run. `lines` are those of metrics.jsonl, `sums` what the trajectories say, by update, `held_out` the scores
    of single prompts, by evaluation. `missing` says what there is not, `damaged` what could not be read."""

    name: str
    folder: Path
    lines: list[Line]
    summary: Line
    config_text: str
    config: dict[str, Any]
    sums: dict[int, PromptSums]
    held_out: dict[str, PromptScores] = field(default_factory=dict)
    starts: list[Start] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def planned(self) -> int | None:
        """Updates that its configuration asks for; None where that is not known."""
        stages = self.config.get("stages")
        counts = [stage.get("updates") for stage in stages or [] if isinstance(stage, Mapping)]
        known = [int(count) for count in counts if count is not None and is_count(count)]
        return sum(known) if counts and len(known) == len(counts) else None

    @property
    def finished(self) -> bool:
        """Whether it came to its end: only then its summary holds how long it took."""
        return "minutes" in self.summary

    @property
    def last_updates(self) -> dict[str, int]:
        """The last update that trained each policy and has trajectories."""
        return {sums.stage: update for update, sums in sorted(self.sums.items())}


def read_run(folder: Path, name: str | None = None) -> RunRecord:
    """Read a run's folder.

    Args:
        name: how the run is called; by default as its folder.

    Raises:
        BadInput: there is no such folder, or it holds no run.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: there is no such folder; give the folder of a run, runs/NAME")
    trajectories = folder / "trajectories"
    if not any((folder / part).is_file() for part in PARTS[:2]) and not list(trajectories.glob("*.parquet")):
        raise BadInput(
            f"{folder}: holds neither config.yaml nor metrics.jsonl nor trajectories/*.parquet; give the folder of a "
            "run, runs/NAME"
        )
    lines, damaged = read_metrics(folder / "metrics.jsonl")
    summary, summary_faults = read_summary(folder / "summary.json")
    sums, parquet_faults = read_prompt_sums(trajectories)
    held_out, held_out_faults = read_evaluations(folder / "held_out")
    text, config, config_faults = _read_config(folder / "config.yaml")
    starts, start_faults = read_starts(folder)
    record = RunRecord(
        name=name_of(name or folder.resolve().name),
        folder=folder,
        lines=lines,
        summary=summary,
        config_text=text,
        config=config,
        sums=sums,
        held_out=held_out,
        starts=starts,
        damaged=[*damaged, *summary_faults, *parquet_faults, *held_out_faults, *config_faults, *start_faults],
    )
    record.missing.extend(_missing(record))
    return record


def read_evaluations(folder: Path) -> tuple[dict[str, PromptScores], list[str]]:
    """The scores of single prompts by evaluation, and what could not be read."""
    found, faults = {}, []
    files = sorted(folder.glob("*.parquet"))
    if len(files) > _EVALUATIONS:
        faults.append(f"held_out: holds {len(files)} files; the first {_EVALUATIONS} are read")
    for file in files[:_EVALUATIONS]:
        if not file.resolve().is_relative_to(folder.parent.resolve()):
            faults.append(f"held_out/{name_of(file.name)} is left out: it leads out of the run's folder")
            continue
        try:
            scores, wrong = read_held_out(file)
        except ValueError as error:
            faults.append(str(error))
            continue
        found[name_of(file.stem)] = scores
        faults += wrong
    return found, faults


def _read_config(path: Path) -> tuple[str, dict[str, Any], list[str]]:
    """The text of a configuration and its values, which are not checked: its models may be elsewhere by now."""
    text, faults = read_text(path)
    values, more = read_settings(text)
    return harmless(text, 1 << 18), values, [*faults, *more]


def _missing(run: RunRecord) -> list[str]:
    """What a report of this run cannot show, and why."""
    missing = []
    if not run.lines:
        missing.append("No update was finished: metrics.jsonl is missing or empty, so there are no curves.")
    elif not run.finished:
        of = "" if run.planned is None else f" of {run.planned}"
        missing.append(f"The run was cut off, or still goes on: {len(run.lines)}{of} updates are there.")
    lacking = [line for line in run.lines if line.get("update") not in run.sums]
    if run.lines and len(lacking) == len(run.lines):
        missing.append("There are no trajectories: there are no episodes, and intervals are of a moving window.")
    elif lacking:
        missing.append(f"The trajectories of {len(lacking)} updates are missing: these have no interval.")
    if not run.config:
        missing.append("config.yaml is missing: what was asked for is not known.")
    missing += _missing_evaluation(run)
    return missing


def _missing_evaluation(run: RunRecord) -> list[str]:
    evaluations = [name for name in run.summary if is_evaluation(name) and name != "diffuser"]
    if not evaluations:
        asked = run.config.get("evaluation")
        off = isinstance(asked, Mapping) and asked.get("prompts") == 0
        why = "evaluation.prompts is 0" if off else "the run ended before one, or summary.json is missing"
        return [f"There is no held-out evaluation: {why}. What training changed on new prompts is not known."]
    missing = []
    if "after" not in evaluations:
        missing.append("There is no held-out evaluation after training.")
    if lacking := [name for name in evaluations if name not in run.held_out]:
        missing.append(
            f"The held-out scores of single prompts are missing for {', '.join(lacking)}: these means have no interval."
        )
    return missing
