"""Numbers of a run as text and tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


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
    for heading in ("update", "stage", "reward", "± std", "groups", "dropped", "mismatch"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    table.add_column("seconds by phase", overflow="ellipsis", no_wrap=True)
    for line in history:
        numbers = [line.get(key) for key in ("reward_mean", "reward_std")]
        mismatch = line.get("logprob_mismatch")
        table.add_row(
            str(line.get("update", "")),
            str(line.get("stage", "")),
            *("–" if number is None else f"{number:.3f}" for number in numbers),
            str(line.get("groups", "")),
            str(line.get("groups_dropped", "")),
            "–" if mismatch is None else f"{mismatch:.1e}",
            phases_text(line.get("seconds", {})),
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
            table.add_row(str(key), f"{value:.3f}" if isinstance(value, float) else str(value))
        return table
    table = Table("held-out", *columns, "change", box=None, padding=(0, 2), header_style="dim")
    for name, values, change in held_out_rows(columns):
        cells = ["–" if value is None else f"{value:.3f}" for value in values]
        table.add_row(name, *cells, "" if change is None else f"{change:+.3f}")
    return table


def held_out_rows(
    columns: Mapping[str, Mapping[str, float]],
) -> list[tuple[str, list[float | None], float | None]]:
    """For each metric: its name, its value in each evaluation, and the last minus that before training."""
    rows = []
    start = list(columns).index("before") if "before" in columns else 0
    for name in dict.fromkeys(name for metrics in columns.values() for name in metrics):
        values = [metrics.get(name) for metrics in columns.values()]
        if not all(value is None or isinstance(value, int | float) for value in values):
            continue
        label = name.replace("_", " ").replace("sg iou", "SG-IoU").replace(" iou", "-IoU")
        known = len(values) > start + 1 and values[start] is not None and values[-1] is not None
        rows.append((label, values, values[-1] - values[start] if known else None))
    return rows
