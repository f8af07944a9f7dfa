"""The results page: `results.md`, the same numbers as `results.json`, and two plots, from the rows of the arms."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.arms import ARMS as COMPARED
from experiments.claims import CLAIM_METRIC, CLAIMS, Finding, find, percent
from experiments.markdown import cell, markdown_templates
from experiments.point_charts import Point, interval_chart, scatter_chart
from experiments.rows import METRICS, PROMPT_SETS, UNTRAINED, Row, check_unique, scores_of
from presets.errors import BadInput
from reports.intervals import Bootstrap, Interval, Scores
from scenes.whole_file import whole_file

ARMS = {arm.name: arm.what for arm in COMPARED}
HEADINGS = {
    "sg_iou": "SG-IoU",
    "entity_iou": "Entity-IoU",
    "relation_iou": "Relation-IoU",
    "all_satisfied": "all satisfied",
    "checker": "Checker",
    "judge": "judge",
    "turns": "turns",
    "model_seconds": "model seconds",
}
PROMPT_WORDS = {"two_three": "two or three relations", "four_five": "four or five relations"}
# SG-IoU of the generator alone and of RL-RIG as published; other prompts, models and extractor than here.
_ANCHOR_SOURCE, _ANCHOR = "arXiv 2602.19974", {"before": 0.3319, "after": 0.3699}
_SWEEP_METRICS = ("sg_iou", "all_satisfied", "turns")
_PLOTS = {"sg_iou": "results-sg-iou.svg", "seconds": "results-seconds.svg"}


@dataclass(frozen=True)
class SweepPoint:
    """One setting: its rows, or `intervals` by metric with the training `seeds` behind them. Neither: not run."""

    label: str
    default: bool
    rows: Sequence[Row] = ()
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    seeds: Sequence[int] = ()


@dataclass(frozen=True)
class Sweep:
    """One setting varied, everything else as in the preset; `what` says what it is."""

    name: str
    what: str
    settings: Sequence[SweepPoint]


def _seeds(rows: Iterable[Row]) -> list[int]:
    """The training seeds of rows, sorted; those of untrained arms left out."""
    return sorted({row.seed for row in rows} - {UNTRAINED})


def _by_arm(rows: Sequence[Row], prompts: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.prompts == prompts:
            found.setdefault(row.arm, []).append(row)
    return found


def _measured(rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, Any]:
    """All metrics of one arm on one set of prompts."""
    scores = {metric: scores_of(rows, metric) for metric in METRICS}
    claimed = scores[CLAIM_METRIC]
    return {
        "seeds": _seeds(rows),
        "prompts": len(claimed.prompt_ids),
        "metrics": {metric: asdict(bootstrap.mean(one)) for metric, one in scores.items()},
        "sg_iou_by_seed": {str(seed): float(mean) for seed, mean in zip(claimed.seeds, claimed.means, strict=True)},
    }


def _claim_record(finding: Finding) -> dict[str, Any]:
    difference = finding.difference
    return {
        **asdict(finding.claim),
        "metric": CLAIM_METRIC,
        "mean_a": finding.mean_a,
        "mean_b": finding.mean_b,
        "difference": asdict(difference.absolute) if difference else None,
        "relative": asdict(difference.relative) if difference and difference.relative else None,
        "by_seed": list(difference.by_seed) if difference else [],
        "side": finding.side,
        "excludes_zero": finding.excludes_zero,
        "target_reached": finding.target_reached,
        "verdict": finding.verdict,
        "reason": finding.reason,
    }


def _sweep_record(sweep: Sweep, bootstrap: Bootstrap) -> dict[str, Any]:
    """The settings of a sweep, each with its difference from the default where both have rows.

    Raises:
        BadInput: more than one default, rows and intervals at once, or unknown metrics.
    """
    defaults = [point for point in sweep.settings if point.default]
    if len(defaults) > 1:
        labels = ", ".join(repr(point.label) for point in defaults)
        raise BadInput(f"sweep {sweep.name!r}: default is set for {labels}; set it for one setting at most")
    base = scores_of(defaults[0].rows, CLAIM_METRIC) if defaults and defaults[0].rows else None
    settings = []
    for point in sweep.settings:
        where = f"sweep {sweep.name!r}, setting {point.label!r}"
        if point.rows and point.intervals:
            raise BadInput(f"{where}: rows and intervals are both given; give one of them")
        if unknown := [name for name in point.intervals if name not in METRICS]:
            raise BadInput(f"{where}: intervals of {unknown[0]!r}; give only {', '.join(METRICS)}")
        seeds = _seeds(point.rows) if point.rows else list(point.seeds)
        metrics = {name: asdict(interval) for name, interval in point.intervals.items()}
        if point.rows:
            metrics = {name: asdict(bootstrap.mean(scores_of(point.rows, name))) for name in _SWEEP_METRICS}
        difference = None
        if base is not None and point.rows and not point.default:
            difference = asdict(bootstrap.difference(scores_of(point.rows, CLAIM_METRIC), base).absolute)
        setting = {"label": point.label, "default": point.default, "seeds": seeds, "metrics": metrics}
        settings.append({**setting, "difference": difference})
    compared = any(one["metrics"] and not one["default"] for one in settings)
    return {"name": sweep.name, "what": sweep.what, "compared": compared, "settings": settings}


def measure(
    rows: Sequence[Row], sweeps: Sequence[Sweep], facts: Mapping[str, Any], bootstrap: Bootstrap
) -> dict[str, Any]:
    """Every number of the page, as JSON can hold it; None for what was not run.

    Args:
        rows: of the arms in `ARMS`, in any order.
        facts: `fast` (bool), and whatever is known of `prompts`, `harder_prompts`, `seeds`, `updates` (of one policy),
            `minutes` (a number, or numbers by what they went into), `device`, `command`, `failures` (a list of texts);
            other entries are printed under their names.

    Raises:
        BadInput: an unknown arm, a row twice, prompts that differ between seeds or compared arms, or facts without
            `fast`.
    """
    if not isinstance(facts.get("fast"), bool):
        raise BadInput(f"facts: fast is {facts.get('fast')!r}; give True for a quick look, False for a full run")
    if unknown := sorted({row.arm for row in rows} - set(ARMS)):
        raise BadInput(f"rows: arm {unknown[0]!r} is not known; the arms are {', '.join(map(repr, ARMS))}")
    check_unique(rows)
    grouped = {prompts: _by_arm(rows, prompts) for prompts in PROMPT_SETS}
    claimed: dict[str, dict[str, Scores]] = {
        prompts: {arm: scores_of(some, CLAIM_METRIC) for arm, some in arms.items()} for prompts, arms in grouped.items()
    }
    findings = [find(claim, claimed[claim.prompts], bootstrap) for claim in CLAIMS]
    return {
        "facts": dict(facts),
        "seeds": _seeds(rows),
        "prompts": {name: len({row.prompt_id for row in rows if row.prompts == name}) for name in PROMPT_SETS},
        "bootstrap": {"resamples": bootstrap.resamples, "level": bootstrap.level, "seed": bootstrap.seed},
        "arms": {
            prompts: {arm: _measured(arms[arm], bootstrap) if arm in arms else None for arm in ARMS}
            for prompts, arms in grouped.items()
        },
        "claims": [_claim_record(finding) for finding in findings],
        "sweeps": [_sweep_record(sweep, bootstrap) for sweep in sweeps],
        "anchor": {
            "source": _ANCHOR_SOURCE,
            **_ANCHOR,
            "relative": _ANCHOR["after"] / _ANCHOR["before"] - 1,
        },
    }


def plots(results: Mapping[str, Any]) -> dict[str, str]:
    """The SVG of each plot by file name, on the prompts with two or three relations; none where nothing was run."""
    arms = results["arms"]["two_three"]
    points = [
        Point(name, Interval(**arm["metrics"]["sg_iou"]), Interval(**arm["metrics"]["model_seconds"]))
        if arm
        else Point(name, None)
        for name, arm in arms.items()
    ]
    share = f"{100 * results['bootstrap']['level']:g} % intervals"
    across = "seconds of model compute for an image"
    drawn = {
        _PLOTS["sg_iou"]: interval_chart(f"SG-IoU by arm, {share}", "SG-IoU", points),
        _PLOTS["seconds"]: scatter_chart(f"SG-IoU against model seconds, {share}", across, "SG-IoU", points),
    }
    return {name: svg for name, svg in drawn.items() if svg}


def _number(interval: Mapping[str, float] | None, digits: int = 3, sign: str = "") -> str:
    """`0.412 [0.389, 0.435]`; `–` for None."""
    if interval is None:
        return "–"
    mean, low, high = (f"{interval[key]:{sign}.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _percent(interval: Mapping[str, float] | None) -> str:
    """`+11.4 % [+2.0 %, +20.1 %]`; `–` for None."""
    if interval is None:
        return "–"
    return f"{percent(interval['mean'])} [{percent(interval['low'])}, {percent(interval['high'])}]"


def _fact(value: object) -> str:
    """A fact in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{cell(key)} {_fact(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact, value))
    return f"{value:.1f}" if isinstance(value, float) else cell(value)


def render(results: Mapping[str, Any]) -> str:
    """The Markdown of the page: every number and every verdict comes from `measure`."""
    environment = markdown_templates()
    environment.filters |= {"number": _number, "percents": _percent, "percent": percent, "fact": _fact}
    words = {"headings": HEADINGS, "what": ARMS, "prompt_words": PROMPT_WORDS, "sweep_metrics": _SWEEP_METRICS}
    return environment.get_template("results.md.j2").render(
        **results, **words, plots=plots(results), plot_names=_PLOTS, untrained=str(UNTRAINED)
    )


def write_page(
    rows: Sequence[Row],
    sweeps: Sequence[Sweep],
    facts: Mapping[str, Any],
    folder: Path,
    bootstrap: Bootstrap | None = None,
) -> Path:
    """Write `results.md`, `results.json` and the plots into `folder`, and return the path of the page.

    A plot that has nothing to show is not written, and one that an earlier page left is removed. For the arguments see
    `measure`.

    Raises:
        BadInput: rows, sweeps or facts that `measure` refuses.
    """
    results = measure(rows, sweeps, facts, bootstrap or Bootstrap())
    files = {"results.json": json.dumps(results, indent=1, allow_nan=False) + "\n", **plots(results)}
    folder.mkdir(parents=True, exist_ok=True)
    for name in _PLOTS.values():
        if name not in files:
            (folder / name).unlink(missing_ok=True)
    for name, text in {**files, "results.md": render(results)}.items():
        with whole_file(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return folder / "results.md"
