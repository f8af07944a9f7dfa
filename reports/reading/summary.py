"""A run's `summary.json`: how long it took, and its evaluations by name."""

from __future__ import annotations

from pathlib import Path

from reports.reading.text_file import read_text
from reports.reading.values import Checker, Faults, Values, is_number, read_json

FILE = "summary.json"
MOST_EVALUATIONS, MOST_METRICS = 50, 50


def read_summary(path: Path) -> tuple[Values, list[str]]:
    """The values of the file, and what is wrong with it."""
    text, faults = read_text(path)
    return ({}, faults) if faults or not text else summary_of(text)


def is_evaluation(name: str) -> bool:
    """Whether a key of a summary names an evaluation: `diffuser` (the first images), `before`, `after_N`, `after`."""
    return name in ("diffuser", "before", "after") or name.startswith("after_")


def summary_of(text: str) -> tuple[Values, list[str]]:
    """The values of the text, and what is wrong with it."""
    try:
        given = read_json(text)
    except ValueError as error:
        return {}, [f"{FILE} is left out: {error}"]
    if not isinstance(given, dict):
        return {}, [f"{FILE} is left out: it holds no object"]
    faults = Faults(FILE)
    checker = Checker(FILE, faults)
    values = checker.mapping(given)
    checker.keep(values, "minutes", lambda value: is_number(value) and value >= 0, "no number of minutes")
    if "minutes" in values and values["minutes"] is None:
        del values["minutes"]
    names = [name for name in values if is_evaluation(name)]
    for name in names[:MOST_EVALUATIONS]:
        checker.keep(values, name, lambda value: isinstance(value, dict), "no table")
        metrics = values.get(name) or {}
        for metric in list(metrics)[MOST_METRICS:]:
            checker.leave_out(f"{name}.{metric}", metrics.pop(metric), f"more than {MOST_METRICS} metrics")
    for name in names[MOST_EVALUATIONS:]:
        checker.leave_out(name, values.pop(name), f"more than {MOST_EVALUATIONS} evaluations")
    return values, faults.texts
