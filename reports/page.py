"""The page of a report: one HTML file that needs no script and asks for nothing outside itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from measuring.reward_gap import truth_words
from reports.drawing.charts import COLOURS, DARK_COLOURS, DASHES
from reports.drawing.curves import GAP, curves, time_chart, training_plans
from reports.fault_numbers import IN_THE_LOG, WORDS
from reports.number import INTERVALS, Number
from reports.reading.picture import Pictures
from reports.tables import metric_label, metric_meaning
from scenes.harmless_text import harmless

if TYPE_CHECKING:
    from reports.content import Report

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_NEUTRAL = ("turns_used",)
_UPDATES_NAMED = 12
_LARGE, _SMALL = 336, 128  # pixels: an image of an episode, and one of its group's members


@dataclass(frozen=True)
class Table:
    """`columns` are headings, `rows` are (heading, one number or None for each column). `meanings` say what a heading
    means, in a sentence."""

    columns: list[str]
    rows: list[tuple[str, list[Number | None]]]
    meanings: dict[str, str] = field(default_factory=dict)


def page(report: Report) -> str:
    """The HTML text."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = Pictures()
    environment.filters["large"] = lambda png: pictures.shown(png, _LARGE)
    environment.filters["direction"] = direction
    environment.filters["settings"] = lambda config: harmless(json.dumps(config, indent=1, ensure_ascii=False))
    environment.filters["small"] = lambda png: pictures.shown(png, _SMALL)
    numbers, names = report.numbers, [run.record.name for run in report.runs]
    own = {run.record.name: run.own_reward for run in report.runs if run.own_reward}
    truths = list(dict.fromkeys(truth_words(run.record.lines) for run in report.runs))
    training = curves(training_plans(own, truths), numbers, names)
    return environment.get_template("report.html.j2").render(
        title=" · ".join(names),
        names=names,
        runs=report.runs,
        fact_names=list(dict.fromkeys(name for run in report.runs for name in run.facts)),
        differing=report.differing,
        held_out={run: table for run in names if (table := _held_out(numbers, run)).rows},
        comparison=_by_item(report.comparison, lambda n: f"{n.run}: {n.item}"),
        main=training[0] if training else None,
        training=training[1:],
        own=own,
        truths=truths,
        gap=curves(GAP, numbers, names),
        time_chart=time_chart(numbers, names),
        times={run: table for run in names if (table := _times(numbers, run)).rows},
        faults={run: _faults(numbers, run) for run in names},
        in_the_log=IN_THE_LOG,
        intervals=INTERVALS,
        colours=COLOURS,
        dark_colours=DARK_COLOURS,
        dashes=DASHES,
    )


def direction(change: Number) -> str:
    """How a difference is coloured: `up` where it is for the better, `down` for the worse; nothing where its interval
    holds zero, nor for turns: a loop takes fewer because all holds sooner, or because nothing helps."""
    if change.metric in _NEUTRAL or change.low is None or change.high is None or change.low <= 0 <= change.high:
        return ""
    return "up" if change.value > 0 else "down"


def _by_item(numbers: Sequence[Number], column: Callable[[Number], str | None]) -> Table:
    """Metrics down, items across."""
    cells = {(number.metric, str(column(number))): number for number in numbers}
    columns = list(dict.fromkeys(item for _, item in cells))
    metrics = dict.fromkeys(metric for metric, _ in cells)
    rows = [(metric_label(m), [cells.get((m, item)) for item in columns]) for m in metrics]
    return Table(columns, rows, {metric_label(m): metric_meaning(m) for m in metrics})


def _held_out(numbers: Sequence[Number], run: str) -> Table:
    return _by_item([n for n in numbers if n.run == run and n.section in ("held_out", "difference")], lambda n: n.item)


def _times(numbers: Sequence[Number], run: str) -> Table:
    """Phases down, the longest first and the whole update last; total, mean and share across."""
    cells = {(n.item, n.metric): n for n in numbers if n.run == run and n.section == "time" and n.update is None}
    phases = list(dict.fromkeys(item for item, _ in cells))
    phases.sort(key=lambda phase: (phase == "update", -cells[phase, "seconds_total"].value))
    columns = ("seconds_total", "seconds_mean", "share")
    return Table(
        ["seconds in all", "seconds an update", "share of all phases"],
        [(f"{phase or ''}", [cells.get((phase, column)) for column in columns]) for phase in phases],
    )


def _faults(numbers: Sequence[Number], run: str) -> list[tuple[str, Number, list[tuple[str, Number]], str]]:
    """For each kind of fault: words, total, (reason, count) pairs, and the updates in which it happened."""
    ours = [number for number in numbers if number.run == run and number.section == "fault"]
    table = []
    for metric, words in WORDS.items():
        mine = [number for number in ours if number.metric == metric]
        total = next(number for number in mine if number.update is None and number.item is None)
        reasons = [(str(n.item), n) for n in mine if n.update is None and n.item is not None]
        updates = list(dict.fromkeys(str(n.update) for n in mine if n.update is not None))
        more = ", …" if len(updates) > _UPDATES_NAMED else ""
        table.append((words, total, reasons, ", ".join(updates[:_UPDATES_NAMED]) + more))
    return table
