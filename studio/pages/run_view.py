"""One run while it goes on and afterwards: facts, curves, held-out means, and its updates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from measuring.reward_gap import Trend, trends
from reports.drawing.curves import GAP, TRAINING, Curve, curves, time_chart
from reports.held_out_numbers import evaluations
from reports.number import Number
from reports.reading.values import is_number
from reports.run_facts import facts
from reports.tables import metric_label
from reports.training_numbers import values_of
from studio.pages.paging import part_of
from studio.pages.run_index import progress_of
from studio.pages.trajectory_file import updates_of

if TYPE_CHECKING:
    from reports.reading.tail import Line
    from reports.run_record import RunRecord
    from studio.pages.links import Links
    from studio.pages.run_index import RunsFolder

UPDATES_ON_A_PAGE = 25
POINTS = 300
"""Points that a curve has at most; of a longer run, several updates make one."""
_LARGEST = ("logprob_mismatch", "staleness_max")
_PLANS = [replace(plan, only_above_zero=False) if plan.title == "Staleness" else plan for plan in TRAINING]


@dataclass(frozen=True)
class ShownUpdate:
    """One line of the list. `why` has the reasons of the `failed`; `link` leads to its groups, None where there are no
    trajectories of it."""

    update: int
    stage: str
    reward: float | None
    truth: float | None
    groups: float | None
    dropped: float | None
    failed: float
    why: str
    seconds: float | None
    link: str | None


@dataclass(frozen=True)
class RunPage:
    """`held_out` is (metric, one mean or None for each of `evaluations`); `updates` are the newest first, `page` of
    `pages`. `state` changes with the run's files, and `live` is whether more is to come."""

    name: str
    progress: str
    facts: dict[str, str]
    damaged: list[str]
    charts: list[Curve]
    time: Curve | None
    thinned: str
    trends: list[Trend]
    evaluations: list[str]
    held_out: list[tuple[str, list[float | None]]]
    updates: list[ShownUpdate]
    page: int
    pages: int
    groups: str | None
    state: str
    live: bool


def run_page(folder: RunsFolder, name: str, links: Links, page: int | None = 1) -> RunPage:
    """What there is of a run at this moment.

    Args:
        page: of the updates, from 1; one past the end is the last. None: all of them.

    Raises:
        NotThere: no run is called so.
    """
    state = folder.state(name)
    record = folder.record(name)
    thin, of = thinned(record.lines)
    numbers = [number for line in thin for number in _numbers(name, line)]
    stored = updates_of(folder, record.folder)
    lines = sorted(record.lines, key=lambda line: -line["update"])
    here, number, pages = part_of(lines, page, UPDATES_ON_A_PAGE)
    found = evaluations(record)
    return RunPage(
        name=name,
        progress=progress_of(record),
        facts=_facts(record),
        damaged=record.damaged,
        charts=[replace(curve, bands="") for curve in curves([*_PLANS, *GAP], numbers, [name])],
        time=time_chart(numbers, [name]),
        thinned=of,
        trends=trends(record.lines),
        evaluations=list(found),
        held_out=_held_out(found.values()),
        updates=_updates(here, set(stored), name, links),
        page=number,
        pages=pages,
        groups=links.groups(name) if stored else None,
        state=state,
        live=not record.finished,
    )


def thinned(lines: Sequence[Line]) -> tuple[list[Line], str]:
    """At most `POINTS` lines, each the mean of as many successive updates of one stage, and that in words; the lines
    themselves where they are few."""
    many = -(-len(lines) // POINTS)
    if many <= 1:
        return list(lines), ""
    parts: list[list[Line]] = []
    for line in lines:
        if not parts or len(parts[-1]) == many or parts[-1][0]["stage"] != line["stage"]:
            parts.append([])
        parts[-1].append(line)
    words = f"Each point is {many} successive updates: their mean, of mismatch and staleness their largest."
    return [_merged(part) for part in parts], words


def _merged(part: Sequence[Line]) -> Line:
    merged: Line = {"update": part[0]["update"], "stage": part[0]["stage"]}
    for key in dict.fromkeys(key for line in part for key in line if key not in merged):
        values = [line[key] for line in part if key in line]
        if isinstance(values[0], dict):
            names = dict.fromkeys(name for value in values for name in value)
            merged[key] = {n: _one([value[n] for value in values if n in value], n == "max") for n in names}
        else:
            merged[key] = _one(values, key in _LARGEST)
    return merged


def _one(values: Sequence[float], largest: bool) -> float:
    return max(values) if largest else sum(values) / len(values)


def _numbers(run: str, line: Line) -> list[Number]:
    update, policy = line["update"], line["stage"]
    training = [Number(run, "training", m, v, update=update, policy=policy) for m, v in values_of(line).items()]
    seconds = line.get("seconds", {})
    return training + [
        Number(run, "time", "seconds", float(value), update=update, policy=policy, item=phase)
        for phase, value in seconds.items()
    ]


def _facts(record: RunRecord) -> dict[str, str]:
    return {words: text for words, text in facts(record).items() if words != "state"}


def _held_out(columns: Collection[Mapping[str, float]]) -> list[tuple[str, list[float | None]]]:
    metrics = dict.fromkeys(m for column in columns for m, value in column.items() if is_number(value))
    return [(metric_label(m), [float(c[m]) if is_number(c.get(m)) else None for c in columns]) for m in metrics]


def _updates(lines: Sequence[Line], stored: set[int], name: str, links: Links) -> list[ShownUpdate]:
    return [
        ShownUpdate(
            update=line["update"],
            stage=line["stage"],
            reward=line.get("reward_mean"),
            truth=line.get("truth_mean"),
            groups=line.get("groups"),
            dropped=line.get("groups_dropped"),
            failed=line.get("unparsable", 0) + sum(line.get("rejected", {}).values()),
            why=", ".join(
                f"{reason} {count:g}"
                for reason, count in [*line.get("unread", {}).items(), *line.get("rejected", {}).items()]
            ),
            seconds=line.get("seconds_total"),
            link=links.groups(name, line["update"]) if line["update"] in stored else None,
        )
        for line in lines
    ]
