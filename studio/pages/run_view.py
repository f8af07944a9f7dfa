"""One run while it goes on and afterwards: facts, curves, held-out means, and its updates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from measuring.reward_gap import Trend, trends, truth_words
from reports.before_after.rows import BeforeAfter, before_after
from reports.before_after.verdict import Verdict, verdict
from reports.content import BOOTSTRAP
from reports.drawing.curves import GAP, Curve, Plan, curves, time_chart, training_plans
from reports.drawing.thinning import thinned
from reports.held_out_numbers import evaluations, held_out_numbers
from reports.number import Number
from reports.reading.text_file import end_of
from reports.reading.values import is_number
from reports.run_facts import differing_settings, facts, own_reward, starts_told
from reports.run_record import read_evaluations
from reports.status.reader import LOG
from reports.tables import metric_label, metric_meaning
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
LOG_CHARS, MOST_OTHERS = 20_000, 100


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
    """`held_out` is (metric, its meaning, one mean or None for each of `evaluations`); `updates` are the newest first,
    `page` of `pages`. `state` changes with the run's files, and `live` is whether more is to come. `over` is the run
    whose curves lie in the same charts, one of `others`, and `differing` the settings in which the two differ."""

    name: str
    progress: str
    verdict: Verdict
    before_after: BeforeAfter | None
    facts: dict[str, str]
    starts: list[tuple[str, dict[str, str]]]
    config: str
    log: str
    others: list[str]
    over: str | None
    differing: dict[str, list[str]]
    damaged: list[str]
    charts: list[Curve]
    time: Curve | None
    thinned: str
    trends: list[Trend]
    truth: str
    evaluations: list[str]
    held_out: list[tuple[str, str, list[float | None]]]
    updates: list[ShownUpdate]
    page: int
    pages: int
    groups: str | None
    state: str
    live: bool


def run_page(folder: RunsFolder, name: str, links: Links, page: int | None = 1, over: str | None = None) -> RunPage:
    """What there is of a run at this moment.

    Args:
        page: of the updates, from 1; one past the end is the last. None: all of them.
        over: another run whose curves are drawn in the same charts.

    Raises:
        NotThere: no run is called so.
    """
    state = folder.state(name)
    record = folder.record(name)
    held_out, faults = read_evaluations(record.folder / "held_out")
    record = replace(record, held_out=held_out)
    compared, more = before_after(record.folder)
    both = [record] if over in (None, "", name) else [record, folder.record(str(over))]
    thin = {one.name: thinned(one.lines) for one in both}
    of = next((words for _, words in thin.values() if words), "")
    numbers = [number for run, (lines, _) in thin.items() for line in lines for number in _numbers(run, line)]
    own = {one.name: reward for one in both if (reward := own_reward(one))}
    stored = updates_of(folder, record.folder)
    lines = sorted(record.lines, key=lambda line: -line["update"])
    here, number, pages = part_of(lines, page, UPDATES_ON_A_PAGE)
    found = evaluations(record)
    return RunPage(
        name=name,
        progress=progress_of(record) + folder.time_left(record),
        verdict=verdict(record, held_out_numbers(record, BOOTSTRAP)),
        before_after=compared,
        facts=_facts(record),
        starts=starts_told(record),
        config=record.config_text,
        log=end_of(record.folder / LOG, folder.root, LOG_CHARS),
        others=[] if links.files else [other for other in folder.names()[:MOST_OTHERS] if other != name],
        over=both[1].name if both[1:] else None,
        differing=differing_settings(both) if both[1:] else {},
        damaged=list(dict.fromkeys((*record.damaged, *faults, *more))),
        charts=[replace(one, bands="") for one in curves([*_plans(own, both), *GAP], numbers, list(thin))],
        time=time_chart(numbers, [name]),
        thinned=of,
        trends=trends(record.lines, name in own),
        truth=truth_words(record.lines),
        evaluations=list(found),
        held_out=_held_out(found.values()),
        updates=_updates(here, set(stored), name, links),
        page=number,
        pages=pages,
        groups=links.groups(name) if stored else None,
        state=state,
        live=not record.finished,
    )


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


def _plans(own: Mapping[str, str], runs: Sequence[RunRecord]) -> list[Plan]:
    plans = training_plans(own, [truth_words(run.lines) for run in runs])
    return [replace(plan, only_above_zero=False) if plan.title == "Staleness" else plan for plan in plans]


def _held_out(columns: Collection[Mapping[str, float]]) -> list[tuple[str, str, list[float | None]]]:
    metrics = dict.fromkeys(m for column in columns for m, value in column.items() if is_number(value))
    return [
        (metric_label(m), metric_meaning(m), [float(c[m]) if is_number(c.get(m)) else None for c in columns])
        for m in metrics
    ]


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
