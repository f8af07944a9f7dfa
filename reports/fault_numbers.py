"""What went wrong in a run and was mended or left out, counted by update and by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from reports.number import Number
from reports.prompt_sums import LEFT_ALONE
from reports.reading.values import is_number

if TYPE_CHECKING:
    from reports.run_record import RunRecord

WORDS = {
    "restarts": "EnvRunners that ended and were started again",
    "replaced": "replicas that were lost and replaced",
    "requeued": "retried: prompts that were sampled anew",
    "rejected": "failed: members that were rejected",
    "without_value": "failed: turns that a scorer gave no value",
    "groups_dropped": "skipped: groups with fewer than two members left",
    "unparsable": "failed: answers that could not be parsed",
    "unanswered": "questions that the Checker answered neither with yes nor with no",
    "transport_failed": "transfers of weights that were not taken in the way that was asked for",
}
IN_THE_LOG = ("restarts", "replaced", "requeued")  # whose reasons only the log of the run has
_SO_FAR = ("restarts", "replaced", "requeued", "unanswered")  # counted from the start of a process


def fault_numbers(run: RunRecord) -> list[Number]:
    """The section `fault`: counts above 0 for each update and, without `update`, all counts of the run. `item` is the
    reason where one was recorded; a number of the run without one counts whatever the reason. A group whose rewards
    were all equal is no fault: its share is in the section `training`."""
    numbers = list(_by_update(run))
    totals: dict[tuple[str, str | None], float] = {(metric, None): 0.0 for metric in WORDS}
    for number in numbers:
        for item in dict.fromkeys((None, number.item)):
            totals[number.metric, item] = totals.get((number.metric, item), 0.0) + number.value
    return [
        *numbers,
        *(Number(run.name, "fault", metric, total, item=item) for (metric, item), total in totals.items()),
    ]


def _by_update(run: RunRecord) -> Iterator[Number]:
    before = dict.fromkeys(_SO_FAR, 0.0)
    for position, line in enumerate(run.lines):
        update, policy = int(line.get("update", position)), line.get("stage")
        number = partial(_number, run.name, update, policy)
        for name in _SO_FAR:
            total = line.get(name)
            if is_number(total):
                # A run that goes on from a checkpoint counts from 0 again.
                more = total - before[name] if total >= before[name] else total
                before[name] = total
                if more:
                    yield number(name, more)
        for reason, count in (line.get("rejected") or {}).items():
            yield number("rejected", count, reason)
        yield from (number("without_value", n, name) for name, n in (line.get("reward_missing") or {}).items() if n)
        yield from (number("groups_dropped", count, reason) for reason, count in _left_alone(run, update))
        reasons = line.get("unread") or {}  # a line of an older run has none
        for reason, count in reasons.items():
            yield number("unparsable", count, reason)
        if line.get("unparsable") and not reasons:
            yield number("unparsable", line["unparsable"])
        asked = _transport(run, policy)
        replicas = (line.get("weights") or {}).get("replicas") or {}
        ways = Counter(replica.get("transport") for replica in replicas.values())
        for used, count in ways.items():
            if asked is not None and used not in (asked, None):
                yield number("transport_failed", count, f"{used} in the place of {asked}")


def _number(run: str, update: int, policy: str | None, metric: str, count: float, reason: str | None = None) -> Number:
    return Number(run, "fault", metric, float(count), update=update, policy=policy, item=reason)


def _left_alone(run: RunRecord, update: int) -> Iterable[tuple[str, int]]:
    """Dropped groups whose members were rejected; only the trajectories tell them from those without signal."""
    dropped = run.sums[update].dropped if update in run.sums else {}
    return [(reason, count) for reason, count in dropped.items() if reason == LEFT_ALONE]


def _transport(run: RunRecord, policy: str | None) -> str | None:
    sync = run.config.get("sync")
    asked = sync.get(policy) if isinstance(sync, dict) else None
    return asked if isinstance(asked, str) else None
