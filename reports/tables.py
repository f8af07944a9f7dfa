"""Numbers of a run as text and tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from scenes.kinds.kinds import KINDS

DIFFERENCE = "loop − diffuser"
"""The key of what the loop adds to the first image, in an evaluation's intervals."""


_MEANINGS = {
    "sg_iou": "overlap of the scene graph that was asked for with the one that is read from the image, 1 is the same",
    "entity_iou": "the same overlap, of objects alone",
    "relation_iou": "the same overlap, of relations alone",
    "satisfied": "share of the requirements that hold: ground truth (exact), or what data.truth names",
    "all_satisfied": "share of the images in which all of them hold: ground truth (exact), or what data.truth names",
    "judge_score": "what a vision-language model that takes no part in training says of the image",
    "checker_reward": "share of the requirements that the Checker finds met; training raises what the Checker says",
    "own_reward": "the reward of your own, which this run trains on, of the same images",
    "turns_used": "edits until every requirement holds for the Checker, or the turns are used up",
    "seconds_total": "wall clock of the whole run",
    "seconds_mean": "wall clock, mean over the updates",
    "share": "of the seconds of all phases",
}

_OF_KIND = {
    "satisfied": "share of the requirements that hold",
    "checker": "share of the requirements that the Checker finds met",
}


def clock_text(seconds: float | None) -> str:
    """`1:05` or `1:02:05`; `–` for None."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def phases_text(seconds: Mapping[str, float]) -> str:
    """`edit 3.1  check 0.9`, the longest first."""
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return "  ".join(f"{name} {value:.1f}" for name, value in ordered if value >= 0.05)


def updates_table(history: Sequence[Mapping[str, Any]]) -> Table:
    """The latest updates, a row for each."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("update", "stage", "reward", "± std", "kept", "skipped", "mismatch"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    table.add_column("seconds by phase", overflow="ellipsis", no_wrap=True)
    for line in history:
        numbers = [line.get(key) for key in ("reward_mean", "reward_std")]
        mismatch = line.get("logprob_mismatch")
        table.add_row(
            str(line.get("update", "")),
            Text(str(line.get("stage", ""))),
            *("–" if number is None else f"{number:.3f}" for number in numbers),
            str(line.get("groups", "")),
            str(line.get("groups_dropped", "")),
            "–" if mismatch is None else f"{mismatch:.1e}",
            Text(phases_text(line.get("seconds", {}))),
        )
    return table


def held_out_columns(summary: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """The evaluations of a summary in their order: `diffuser`, `before` or `loop`, then those named `after…`."""
    return {
        key.replace("_", " "): value
        for key, value in summary.items()
        if (key in ("diffuser", "before", "loop") or key.startswith("after")) and isinstance(value, Mapping)
    }


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Held-out metrics before and after, or plain values where there are none."""
    columns = held_out_columns(summary)
    if not columns:
        table = Table(box=None, padding=(0, 2), show_header=False)
        for key, value in summary.items():
            table.add_row(Text(str(key)), Text(f"{value:.3f}" if isinstance(value, float) else str(value)))
        return table
    table = Table("held-out", *map(escape, columns), "change", box=None, padding=(0, 2), header_style="dim")
    bounds = summary.get("intervals", {})
    for name, values, change in held_out_rows(columns):
        cells = [
            "–" if value is None else f"{value:.3f}{_bounds(bounds, images, name)}"
            for images, value in zip(columns, values, strict=True)
        ]
        changed = "" if change is None else f"{change:+.3f}{_bounds(bounds, DIFFERENCE, name, '+')}"
        table.add_row(Text(metric_label(name)), *cells, changed)
    return table


def _bounds(bounds: Mapping[str, Any], images: str, metric: str, sign: str = "") -> str:
    """` [0.41, 0.46]` where an evaluation has the interval; nothing where it has not."""
    found = bounds.get(images, {}).get(metric)
    return "" if found is None else f" [{found['low']:{sign}.2f}, {found['high']:{sign}.2f}]"


def metric_label(name: str) -> str:
    """A metric's name as a table shows it: `sg_iou` is SG-IoU."""
    return name.replace("_", " ").replace("sg iou", "SG-IoU").replace(" iou", "-IoU")


def metric_meaning(name: str) -> str:
    """What a metric says, in a sentence; empty where that is not known."""
    share, _, kind = name.partition("_")
    if share in _OF_KIND and kind in KINDS:
        return f"{_OF_KIND[share]}, of the kind {kind!r} alone"
    return _MEANINGS.get(name, "")


def held_out_rows(
    columns: Mapping[str, Mapping[str, float]],
) -> list[tuple[str, list[float | None], float | None]]:
    """For each metric: its key, its value in each evaluation, and the last minus that before training."""
    rows = []
    start = list(columns).index("before") if "before" in columns else 0
    for name in dict.fromkeys(name for metrics in columns.values() for name in metrics):
        values = [metrics.get(name) for metrics in columns.values()]
        if not all(value is None or isinstance(value, int | float) for value in values):
            continue
        before, after = values[start], values[-1]
        change = None if len(values) <= start + 1 or before is None or after is None else after - before
        rows.append((name, values, change))
    return rows
