"""The status of runs on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reports.status.sparkline import sparkline
from reports.tables import clock_text, summary_table

if TYPE_CHECKING:
    from reports.status.job_run import JobRun
    from reports.status.status import Curve, Health, RunStatus

_WIDTH = 32
_COLOURS = {"running": "cyan", "finished": "green", "failed": "red", "lost": "red", "interrupted": "yellow"}
_QUIET_S = 600.0  # silence that is worth a remark
_HEALTH = {
    "restarts": "EnvRunners restarted",
    "replaced": "replicas replaced",
    "requeued": "prompts retried",
    "rejected": "members failed",
    "unanswered": "questions unanswered",
    "logger_failures": "logger failures",
}


def run_page(status: RunStatus, now: float) -> RenderableType:
    """One run.

    Args:
        now: seconds since 1970.
    """
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column()
    rows.add_row("updates", _updates(status))
    rows.add_row("reward", _curve(status.reward))
    if status.truth.last is not None:
        rows.add_row("ground truth", _curve(status.truth))
    rows.add_row("throughput", Text(_throughput(status)))
    versions = ", ".join(f"{policy} {version}" for policy, version in status.versions.items())
    rows.add_row("versions", Text(versions or "–"))
    if status.staleness_max is not None:
        rows.add_row(
            "staleness", Text(f"at most {status.staleness_max:g}, mean {status.staleness_mean or 0:.2f} updates")
        )
    if status.no_signal_share is not None:
        rows.add_row("skipped", Text(f"{100 * status.no_signal_share:.0f} % of the groups (no signal)"))
    rows.add_row("health", _health(status.health))
    parts: list[RenderableType] = [_head(status, now), rows]
    if status.held_out:
        parts.append(summary_table(status.held_out))
    parts += [Text(fault, style="yellow") for fault in status.faults]
    return Group(*parts)


def jobs_page(jobs: Sequence[JobRun], now: float) -> RenderableType:
    """Runs that are jobs: a head for each job, below it its run."""
    parts: list[RenderableType] = []
    for job in jobs:
        if parts:
            parts.append(Text())
        submitted = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.submitted)) if job.submitted else "–"
        head = Text.assemble((f"job {job.job}", "bold"), f"   {job.job_status.lower()}   submitted {submitted}")
        parts.append(head.append(f"   out {job.out}" if job.out else ""))
        if job.run is not None:
            parts.append(run_page(job.run, now))
        else:
            parts.append(Text(f"the run has said nothing yet: {_first_line(job.message)}", style="dim"))
        parts += [Text(fault, style="yellow") for fault in job.faults]
    return Group(*parts)


def _first_line(text: str | None) -> str:
    return next(iter((text or "").strip().splitlines()), "–")


def _head(status: RunStatus, now: float) -> Text:
    head = Text.assemble((status.run, "bold"), "   ", (status.state, _COLOURS.get(status.state, "default")))
    if status.phase and status.phase_since is not None:
        stage = f"{status.stage}, " if status.stage else ""
        head.append(f"   {stage}{status.phase} for {clock_text(max(0.0, now - status.phase_since))}")
    if status.error:
        head.append(f"   {status.error}", style="red")
    silent = now - status.at if status.at is not None else 0.0
    if status.state in ("running", "lost") and silent > _QUIET_S:
        head.append(f"   last heard of {clock_text(silent)} ago", style="yellow")
    return head


def _updates(status: RunStatus) -> RenderableType:
    if not status.total_updates:
        return Text(f"{status.updates}")
    row = Table.grid(padding=(0, 2))
    left = f"left {clock_text(status.seconds_left)}" if status.seconds_left is not None else ""
    row.add_row(
        ProgressBar(status.total_updates, status.updates, width=_WIDTH),
        f"{status.updates} of {status.total_updates}",
        left,
    )
    return row


def _curve(curve: Curve) -> Text:
    if curve.first is None or curve.last is None or curve.best is None:
        return Text("no update yet", style="dim")
    line = sparkline(curve.values, _WIDTH)
    return Text.assemble((line, "cyan"), f"  {curve.first:.3f} → {curve.last:.3f}, best {curve.best:.3f}")


def _throughput(status: RunStatus) -> str:
    speed = status.throughput
    if speed.seconds_per_update is None:
        return "–"
    parts = [f"{speed.seconds_per_update:.1f} s an update"]
    if speed.images_per_second is not None:
        parts.append(f"{speed.images_per_second:.1f} images/s")
    if speed.tokens_per_second is not None:
        parts.append(f"{speed.tokens_per_second:.0f} tokens/s")
    return ", ".join(parts)


def _health(health: Health) -> Text:
    found = [f"{count} {words}" for name, words in _HEALTH.items() if (count := getattr(health, name))]
    return Text(", ".join(found) or "nothing went wrong", style="" if found else "dim")
