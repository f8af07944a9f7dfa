"""The numbers of a run's updates, with the interval that the data allow: over prompts, or of a moving window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.number import Number
from reports.reading.values import is_number

if TYPE_CHECKING:
    from reports.intervals import Bootstrap, Interval
    from reports.prompt_sums import PromptSums
    from reports.run_record import Line, RunRecord

WINDOW = 5  # updates
_LEAST_IN_WINDOW = 3
_LEVEL = 0.95
# Means over members; everything else is one count, one greatest value or one time, and has no interval.
MEANS = ("reward_mean", "reward_std", "unparsable_share", "truth_mean", "gap", "checker_agreement")
_PLAIN = (
    "reward_mean",
    "reward_std",
    "reward_before",
    "truth_mean",
    "truth_missing",
    "checker_agreement",
    "logprob_mismatch",
    "groups",
    "groups_dropped",
)
_BY_SCORER = ("reward_values", "reward_parts", "reward_spread")
_LEARNER = ("gradient_norm", "kl", "clip_fraction")
Bounds = tuple[float, float, str]
_Ends = tuple[float | None, float | None, str | None]


def values_of(line: Line) -> dict[str, float]:
    """The metrics of one line of metrics.jsonl that are finite numbers; `gap` is reward minus truth. Those of a scorer
    are named after it, as `reward_values.checker`."""
    learner = line.get("learner")
    found: dict[str, Any] = {
        **{name: line.get(name) for name in _PLAIN},
        **{name: learner.get(name) for name in _LEARNER if isinstance(learner, Mapping)},
        **{f"{table}.{name}": value for table in _BY_SCORER for name, value in (line.get(table) or {}).items()},
        "staleness_max": _largest(line.get("staleness")),
    }
    found["logprob_mismatch"] = _largest(found["logprob_mismatch"])
    numbers = {name: float(value) for name, value in found.items() if is_number(value)}
    if "reward_mean" in numbers and "truth_mean" in numbers:
        numbers["gap"] = numbers["reward_mean"] - numbers["truth_mean"]
    if numbers.get("groups", 0) + numbers.get("groups_dropped", 0) > 0 and "groups" in numbers:
        dropped = numbers.get("groups_dropped", 0.0)
        numbers["no_signal_share"] = dropped / (numbers["groups"] + dropped)
    if is_number(line.get("unparsable")) and is_number(line.get("turns")) and line["turns"]:
        numbers["unparsable_share"] = line["unparsable"] / line["turns"]
    return numbers


def _largest(value: Any) -> Any:
    return value.get("max") if isinstance(value, Mapping) else value


def training_numbers(run: RunRecord, bootstrap: Bootstrap) -> list[Number]:
    """The section `training`: a number for each metric of each update.

    A mean over members has a bootstrap interval over the update's prompts where the trajectories hold these, and, for
    truth and gap, where the line says the truth of each prompt. Where no update of the run has such an interval for a
    metric, it is the t-interval of the mean over a moving window of updates of the same policy.
    """
    values = [values_of(line) for line in run.lines]
    bounds: dict[str, list[Bounds | None]] = {}
    for metric in MEANS:
        series = [one.get(metric) for one in values]
        by_prompt = [
            _over_prompts(metric, line, run.sums.get(line.get("update", -1)), bootstrap) if value is not None else None
            for line, value in zip(run.lines, series, strict=True)
        ]
        policies = [str(line.get("stage", "")) for line in run.lines]
        bounds[metric] = by_prompt if any(by_prompt) else _over_windows(series, policies)
    none: list[Bounds | None] = [None] * len(values)
    return [
        Number(
            run.name,
            "training",
            metric,
            value,
            *_ends(bounds.get(metric, none)[position]),
            update=int(line.get("update", position)),
            policy=line.get("stage"),
        )
        for position, (line, one) in enumerate(zip(run.lines, values, strict=True))
        for metric, value in one.items()
    ]


def _ends(bounds: Bounds | None) -> _Ends:
    return bounds or (None, None, None)


def _over_prompts(metric: str, line: Line, sums: PromptSums | None, bootstrap: Bootstrap) -> Bounds | None:
    """The bounds of one update's mean over its prompts; None where the data do not hold them, or hold one prompt."""
    truth = line.get("truth_by_prompt") or {}
    if metric == "truth_mean":
        return _bounds(bootstrap.ratio(*_columns(truth, list(truth)))) if len(truth) > 1 else None
    if sums is None:
        return None
    if metric == "gap":
        rewards = {str(prompt): pair for prompt, pair in sums.sums.get("reward_mean", {}).items()}
        shared = [prompt for prompt in rewards if prompt in truth]
        if len(shared) < 2:
            return None
        return _bounds(bootstrap.ratio_difference(_columns(rewards, shared), _columns(truth, shared)))
    if len(sums.sums.get(metric, {})) < 2:
        return None
    return _bounds(bootstrap.ratio(*sums.arrays(metric)))


def _columns(pairs: Mapping[str, Sequence[float]], prompts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array([pairs[prompt] for prompt in prompts], dtype=float)
    return table[:, 0], table[:, 1]


def _bounds(interval: Interval) -> Bounds:
    return interval.low, interval.high, "prompts"


def _over_windows(series: Sequence[float | None], policies: Sequence[str]) -> list[Bounds | None]:
    """The t-interval of the mean over the `WINDOW` updates of the same policy around each one, as far as there are
    any; None where fewer than 3 are."""
    from scipy.special import stdtrit  # scipy.stats takes seconds to load, and pages of runs are to be there at once

    bounds: list[Bounds | None] = [None] * len(series)
    for policy in dict.fromkeys(policies):
        ours = [k for k, value in enumerate(series) if policies[k] == policy and value is not None]
        for place, position in enumerate(ours):
            near = ours[max(0, place - WINDOW // 2) : place + WINDOW // 2 + 1]
            if len(near) >= _LEAST_IN_WINDOW:
                window = np.array([series[k] for k in near], dtype=float)
                half = stdtrit(len(near) - 1, (1 + _LEVEL) / 2) * window.std(ddof=1) / math.sqrt(len(near))
                bounds[position] = (float(window.mean() - half), float(window.mean() + half), "window")
    return bounds


def time_numbers(run: RunRecord, bootstrap: Bootstrap) -> list[Number]:
    """The section `time`: seconds of each phase, of each update, and in the mean over updates with the total.

    `item` is the phase, or `update` for the wall clock of whole updates where that was recorded. Metrics: `seconds` of
    an update; `seconds_mean`, `seconds_total` of the run and `share` of all phases' seconds.
    """
    phases = dict.fromkeys(name for line in run.lines for name in line.get("seconds") or {})
    columns = {
        name: [(k, line["seconds"][name]) for k, line in enumerate(run.lines) if name in (line.get("seconds") or {})]
        for name in phases
    }
    whole = [(k, line["seconds_total"]) for k, line in enumerate(run.lines) if is_number(line.get("seconds_total"))]
    everything = sum(value for pairs in columns.values() for _, value in pairs)
    numbers = []
    for name, pairs in {**columns, **({"update": whole} if whole else {})}.items():
        for k, value in pairs:
            line = run.lines[k]
            update = int(line.get("update", k))
            stage = line.get("stage")
            numbers.append(Number(run.name, "time", "seconds", float(value), update=update, policy=stage, item=name))
        seconds = np.array([value for _, value in pairs], dtype=float)
        mean = bootstrap.ratio(seconds, np.ones(len(seconds)))
        ends: _Ends = (mean.low, mean.high, "updates") if len(seconds) > 1 else (None, None, None)
        numbers.append(Number(run.name, "time", "seconds_mean", mean.mean, *ends, item=name))
        numbers.append(Number(run.name, "time", "seconds_total", float(seconds.sum()), item=name))
        if name != "update" and everything > 0:
            numbers.append(Number(run.name, "time", "share", float(seconds.sum()) / everything, item=name))
    return numbers
