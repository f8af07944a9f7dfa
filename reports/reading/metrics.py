"""Lines of `metrics.jsonl`, checked one by one, with bounds on what one file can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from reports.reading.values import Checker, Faults, Values, is_count, is_number, read_json

FILE = "metrics.jsonl"
LONGEST_LINE, MOST_LINES, MOST_NAMES = 1 << 20, 10_000, 40
_LAST_UPDATE = 10**9
_NUMBERS = ("reward_mean", "reward_std", "reward_before", "truth_mean", "checker_agreement", "object_store_bytes")
_COUNTS = (
    "groups",
    "groups_dropped",
    "turns",
    "unparsable",
    "unanswered",
    "restarts",
    "requeued",
    "replaced",
    "actor_version",
    "editor_version",
    "images",
    "answer_tokens",
    "truth_missing",
)
REWARDS = ("reward_values", "reward_parts", "reward_spread", "reward_weights", "reward_missing", "scorer_seconds")
_TABLES = ("seconds", "compute_seconds", "rejected", "unread", "staleness", "gpu_bytes", *REWARDS)
_NEVER_BELOW_0 = ("seconds", "compute_seconds", "rejected", "unread", "reward_missing", "scorer_seconds")


class Lines:
    """Reads one file's lines in their order; `faults` grow with them."""

    def __init__(self) -> None:
        self.faults = Faults(FILE)
        self._count = 0
        self._names: dict[str, set[str]] = {}

    @property
    def full(self) -> bool:
        """Whether no more lines are read."""
        return self._count >= MOST_LINES

    def read(self, text: bytes) -> Values | None:
        """The next line; None where it is not the record of an update, or one too many, which is a fault."""
        self._count += 1
        place = f"{FILE}, line {self._count}"
        if self._count > MOST_LINES:
            if self._count == MOST_LINES + 1:
                self.faults.add(f"{place}: only the {MOST_LINES} lines before it are read")
            return None
        if len(text) > LONGEST_LINE:
            self.faults.add(f"{place}: longer than {LONGEST_LINE} bytes, left out")
            return None
        try:
            given = read_json(text)
        except ValueError as error:
            self.faults.add(f"{place}: not a JSON object, left out ({error})")
            return None
        if not isinstance(given, dict):
            self.faults.add(f"{place}: not a JSON object, left out")
            return None
        update = given.get("update")
        if not isinstance(update, int) or isinstance(update, bool) or not 0 <= update < _LAST_UPDATE:
            self.faults.add(f"{place}: not the record of an update, left out")
            return None
        return self._checked(given, place)

    def _checked(self, given: Values, place: str) -> Values:
        checker = Checker(place, self.faults)
        line = checker.mapping(given)
        for key in (*_NUMBERS, "seconds_total"):
            checker.keep(line, key, is_number, "no number")
        checker.keep(line, "seconds_total", lambda value: value >= 0, "below 0")
        for key in _COUNTS:
            checker.keep(line, key, is_count, "no whole number from 0 on")
        checker.keep(line, "logprob_mismatch", lambda value: is_number(value) or isinstance(value, dict), "no number")
        for key in (*_TABLES, "learner", "weights", "truth_by_prompt"):
            checker.keep(line, key, lambda value: isinstance(value, dict), "no table")
        for key in _TABLES:
            self._table(checker, line, key)
        self._pairs(checker, line)
        self._replicas(checker, line)
        for key in ("truth_by", "truth_scorer"):
            checker.keep(line, key, partial(self._is_name, key), "no name")
        checker.keep(line, "stage", lambda value: isinstance(value, str) and self._known("stage", value), "no stage")
        if line.get("stage", "") is None:
            del line["stage"]
        return line

    def _known(self, table: str, name: str) -> bool:
        """Whether a name is among the first `MOST_NAMES` of its table in this file."""
        names = self._names.setdefault(table, set())
        if len(names) < MOST_NAMES:
            names.add(name)
        return name in names

    def _is_name(self, key: str, value: Any) -> bool:
        return isinstance(value, str) and self._known(key, value)

    def _is_among(self, table: str, name: str, _: Any) -> bool:
        return self._known(table, name)

    def _table(self, checker: Checker, line: Values, key: str) -> None:
        table: Values = line.get(key) or {}
        for name in list(table):
            path = f"{key}.{name}"
            checker.keep(table, name, is_number, "no number", path)
            if key in _NEVER_BELOW_0:
                checker.keep(table, name, lambda value: value >= 0, "below 0", path)
            checker.keep(table, name, partial(self._is_among, key, name), f"more than {MOST_NAMES} names", path)
            if table.get(name) is None:
                table.pop(name, None)

    def _pairs(self, checker: Checker, line: Values) -> None:
        pairs: Values = line.get("truth_by_prompt") or {}
        for prompt in list(pairs):
            checker.keep(pairs, prompt, _is_share, "no sum and count", f"truth_by_prompt.{prompt}")

    def _replicas(self, checker: Checker, line: Values) -> None:
        weights = line.get("weights") or {}
        checker.keep(weights, "replicas", lambda value: isinstance(value, dict), "no table", "weights.replicas")
        replicas = weights.get("replicas") or {}
        for name in list(replicas):
            checker.keep(replicas, name, self._is_receipt, "no receipt", f"weights.replicas.{name}")
            if replicas.get(name) is None:
                replicas.pop(name, None)

    def _is_receipt(self, value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        used = value.get("transport")
        return used is None or (isinstance(used, str) and self._known("transport", used))


def _is_share(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and is_number(value[0]) and is_count(value[1]) and value[1] > 0


def texts_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file from where it is, each cut a little above `LONGEST_LINE`, its end of line kept."""
    while text := file.readline(LONGEST_LINE + 1):
        if len(text) > LONGEST_LINE and not text.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            text += b"\n" if rest else b""
        yield text


def checked(texts: Iterable[bytes]) -> tuple[list[Values], list[str]]:
    """The lines that are records of updates, and what is wrong with the others."""
    reader, lines = Lines(), []
    for text in texts:
        line = reader.read(text)
        if line is not None:
            lines.append(line)
        if reader.full and line is None:
            break
    return lines, reader.faults.texts


def read_metrics(path: Path) -> tuple[list[Values], list[str]]:
    """The lines of metrics.jsonl, and what is wrong with it: a run that was cut off may leave half a line."""
    if not path.is_file():
        return [], []
    with path.open("rb") as file:
        return checked(texts_of(file))
