"""`report.html` of a run: curves, held-out metrics before and after, and a gallery of episodes, in one file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rollout.charts import COLOURS, Series, Stretch, bar_chart, line_chart
from rollout.errors import BadInput
from rollout.gallery import choose, episodes, read_rows
from rollout.progress_tables import clock_text, held_out_columns, held_out_rows
from rollout.reward_gap import trends
from scenes.whole_file import whole_file

_TEMPLATES = Path(__file__).resolve().parent / "templates"
Line = dict[str, Any]


def read_metrics(path: Path) -> tuple[list[Line], list[str]]:
    """The lines of metrics.jsonl, and what is wrong with it: a run that was cut off may leave half a line."""
    lines: list[Line] = []
    faults = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [], start=1):
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            faults.append(f"metrics.jsonl, line {number}: not a JSON object, left out")
    return lines, faults


def _stretches(lines: Sequence[Line]) -> list[Stretch]:
    """The stages as parts of the horizontal axis."""
    stretches: list[Stretch] = []
    for position, line in enumerate(lines):
        stage = str(line.get("stage", ""))
        if stretches and stretches[-1].name == stage:
            stretches[-1] = Stretch(stage, stretches[-1].start, position + 1)
        else:
            stretches.append(Stretch(stage, position, position + 1))
    return stretches


def _column(lines: Sequence[Line], key: str) -> list[float | None]:
    values = [line.get(key) for line in lines]
    values = [value.get("max") if isinstance(value, dict) else value for value in values]
    return [float(value) if isinstance(value, int | float) else None for value in values]


@dataclass(frozen=True)
class Curve:
    """One chart: its title, what it shows, the SVG, and a legend of (name, colour) where it has several colours."""

    title: str
    about: str
    svg: str
    legend: list[tuple[str, str]] = field(default_factory=list)


def _legend(series: Sequence[Series]) -> list[tuple[str, str]]:
    return [(one.name, colour) for one, colour in zip(series, COLOURS, strict=False)]


def _phases(lines: Sequence[Line]) -> list[Series]:
    """Seconds of each phase, the longest first; where there are more than colours, the shortest are added up."""
    names = dict.fromkeys(name for line in lines for name in line.get("seconds", {}))
    layers = [Series(name, [line.get("seconds", {}).get(name) for line in lines]) for name in names]
    layers.sort(key=lambda layer: -sum(value or 0 for value in layer.values))
    if len(layers) <= len(COLOURS):
        return layers
    shown, rest = layers[: len(COLOURS) - 1], layers[len(COLOURS) - 1 :]
    return [*shown, Series("other", [sum(layer.values[k] or 0.0 for layer in rest) for k in range(len(lines))])]


def curves(lines: Sequence[Line]) -> list[Curve]:
    """The charts of metrics.jsonl, those without a single value left out."""
    labels = [int(line.get("update", position)) for position, line in enumerate(lines)]
    stretches = _stretches(lines)

    def chart(title: str, about: str, *series: Series, logarithmic: bool = False) -> Curve:
        svg = line_chart(title, series, labels, stretches, logarithmic)
        return Curve(title, about, svg, _legend(series) if len(series) > 1 else [])

    deviation = _column(lines, "reward_std")
    reward = Series("Checker's reward", _column(lines, "reward_mean"), deviation)
    truth = Series("truth", _column(lines, "truth_mean"))
    spread = Series("standard deviation", deviation)
    rewards = [reward, truth] if any(value is not None for value in truth.values) else [reward]
    mismatch = Series("mismatch", _column(lines, "logprob_mismatch"))
    groups = [Series("used", _column(lines, "groups")), Series("dropped", _column(lines, "groups_dropped"))]
    phases = _phases(lines)
    times = bar_chart("Seconds by phase", phases, labels, stretches)
    charts = [
        chart(
            "Reward", "mean of the update's groups, ± one standard deviation; truth by the exact extractor", *rewards
        ),
        chart("Spread of the reward", "standard deviation; at 0 there is nothing to learn from", spread),
        chart("Log-probability mismatch", "rollout against learner, largest", mismatch, logarithmic=True),
        chart("Groups", "used, and dropped because all members had the same reward", *groups),
        Curve("Seconds by phase", "wall clock of each update", times, _legend(phases)),
    ]
    return [one for one in charts if one.svg]


def _facts(lines: Sequence[Line], summary: Line) -> list[tuple[str, str]]:
    """Short facts for the head of the report."""
    stages = dict.fromkeys(str(line.get("stage", "")) for line in lines)
    facts = [(f"{name} updates", str(sum(line.get("stage") == name for line in lines))) for name in stages]
    if lines:
        facts.append(("Actor", f"version {lines[-1].get('actor_version', '–')}"))
        facts.append(("editor", f"version {lines[-1].get('editor_version', '–')}"))
        spent = sum(sum(line.get("seconds", {}).values()) for line in lines)
        facts.append(("time in updates", clock_text(spent)))
    for key, value in summary.items():
        if key == "run" or isinstance(value, dict | list) or value is None:
            continue
        facts.append((key.replace("_", " "), f"{value:.3g}" if isinstance(value, float) else str(value)))
    return facts


def _read_summary(path: Path) -> tuple[Line, list[str]]:
    if not path.is_file():
        return {}, ["summary.json is missing: the run has not finished"]
    try:
        return json.loads(path.read_text(encoding="utf-8")), []
    except json.JSONDecodeError as error:
        return {}, [f"summary.json: broken JSON: {error}"]


def render_report(run: Path) -> str:
    """The report of a run's folder, as far as the run has come.

    Raises:
        BadInput: the folder holds neither metrics nor trajectories.
    """
    trajectories = run / "trajectories"
    if not (run / "metrics.jsonl").is_file() and not list(trajectories.glob("*.parquet")):
        raise BadInput(f"{run}: holds neither metrics.jsonl nor trajectories/*.parquet; give the folder of a run")
    lines, faults = read_metrics(run / "metrics.jsonl")
    summary, missing = _read_summary(run / "summary.json")
    try:
        rows = read_rows(trajectories)
    except ValueError as error:
        rows, faults = [], [*faults, str(error)]
    config = run / "config.yaml"
    columns = held_out_columns(summary)
    found = trends(lines)
    gamed = [one.text for one in found if one.gamed]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        name=run.resolve().name,
        facts=_facts(lines, summary),
        columns=list(columns),
        metrics=held_out_rows(columns),
        charts=curves(lines),
        episodes=choose(episodes(rows)),
        faults=[*gamed, *faults, *missing, *map(str, summary.get("faults", []))],
        notes=[*(one.text for one in found if not one.gamed), *map(str, summary.get("notes", []))],
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
    )


def write_report(run: Path) -> Path:
    """Write `report.html` into a run's folder and return its path.

    Raises:
        BadInput: the folder holds no run.
    """
    text = render_report(run)
    path = run / "report.html"
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path
