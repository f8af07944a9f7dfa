"""Held-out metrics of a run before and after training, and of several runs, with paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reports.intervals import Bootstrap, Interval, Scores
from reports.number import Number
from reports.reading.summary import is_evaluation
from reports.reading.values import is_number

if TYPE_CHECKING:
    from reports.run_record import RunRecord

_OVER = "held_out_prompts"


def evaluations(run: RunRecord) -> dict[str, Mapping[str, float]]:
    """The evaluations of a run's summary by name, in the order of time: `diffuser` (the first images), `before`,
    `after_N` (in the middle), `after`."""
    names = [name for name in run.summary if is_evaluation(name)]

    def place(name: str) -> tuple[int, int]:
        number = name.removeprefix("after_")
        if number.isascii() and number.isdigit() and len(number) < 10:
            return 2, int(number)
        return {"diffuser": 0, "before": 1, "after": 4}.get(name, 3), 0

    return {name: run.summary[name] for name in sorted(names, key=place) if isinstance(run.summary[name], Mapping)}


def scores_of(run: RunRecord, evaluation: str) -> Mapping[str, Mapping[str, float]]:
    """Metric → prompt id → score of an evaluation; empty where the run holds none. Every evaluation measures the
    Diffuser's images, too, and draws them alike: the first one's are taken."""
    if evaluation != "diffuser":
        return run.held_out.get(evaluation, {}).get("loop", {})
    return next((scores.get("diffuser", {}) for scores in run.held_out.values()), {})


def held_out_numbers(run: RunRecord, bootstrap: Bootstrap) -> list[Number]:
    """The sections `held_out`, with `item` the evaluation, and `difference`: the last evaluation minus that before
    training, paired by prompt where the scores of single prompts are there."""
    found = evaluations(run)
    numbers = []
    for name, metrics in found.items():
        for metric, value in metrics.items():
            if is_number(value):
                scores = scores_of(run, name).get(metric)
                interval = bootstrap.mean(Scores.from_cells({0: scores})) if scores and len(scores) > 1 else None
                numbers.append(Number(run.name, "held_out", metric, float(value), *_bounds(interval), item=name))
    if "before" in found and list(found)[-1] != "before":
        last = list(found)[-1]
        for metric, before in found["before"].items():
            after = found[last].get(metric)
            if is_number(before) and is_number(after):
                a, b = (scores_of(run, name).get(metric, {}) for name in (last, "before"))
                item = f"{last} − before"
                numbers.append(_difference(run.name, "difference", metric, (after, before), (a, b), item, bootstrap))
    return numbers


def comparison_numbers(runs: Sequence[RunRecord], bootstrap: Bootstrap) -> list[Number]:
    """The section `comparison`: the last evaluation of each further run minus that of the first, paired by prompt where
    both hold the scores of the same prompts. `item` says of what minus of what."""
    first, *others = runs
    numbers = []
    base = list(evaluations(first).items())[-1:]
    for run in others:
        for (name, metrics), (base_name, base_metrics) in zip(list(evaluations(run).items())[-1:], base, strict=False):
            for metric, value in metrics.items():
                if is_number(value) and is_number(base_metrics.get(metric)):
                    pair = (value, base_metrics[metric])
                    scores = (scores_of(run, name).get(metric, {}), scores_of(first, base_name).get(metric, {}))
                    item = f"{name} − {first.name}: {base_name}"
                    numbers.append(_difference(run.name, "comparison", metric, pair, scores, item, bootstrap))
    return numbers


def _difference(
    run: str,
    section: str,
    metric: str,
    values: tuple[float, float],
    scores: tuple[Mapping[str, float], Mapping[str, float]],
    item: str,
    bootstrap: Bootstrap,
) -> Number:
    """values[0] − values[1]; over the prompts that both have, with an interval, where these are all that there are."""
    a, b = scores
    if len(a) > 1 and a.keys() == b.keys():
        paired = bootstrap.difference(Scores.from_cells({0: a}), Scores.from_cells({0: b})).absolute
        return Number(run, section, metric, paired.mean, *_bounds(paired), item=item)
    return Number(run, section, metric, float(values[0] - values[1]), item=item)


def _bounds(interval: Interval | None) -> tuple[float | None, float | None, str | None]:
    return (None, None, None) if interval is None else (interval.low, interval.high, _OVER)
