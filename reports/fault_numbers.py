"""What went wrong in a run and was mended or left out, counted by update and by reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rollout.reporting.number import Number
from rollout.reporting.training_numbers import is_number

if TYPE_CHECKING:
    from rollout.reporting.run_record import RunRecord

WORDS = {
    "restarts": "EnvRunners that ended and were started again",
    "replaced": "replicas that were lost and replaced",
    "requeued": "prompts that were sampled anew",
    "rejected": "members that were rejected",
    "groups_dropped": "groups that were dropped",
    "unparsable": "answers that could not be parsed",
    "unanswered": "questions that the Checker answered neither with yes nor with no",
    "transport_failed": "transfers of weights that were not taken in the way that was asked for",
}
IN_THE_LOG = ("restarts", "replaced", "requeued")  # whose reasons only the log of the run has
_SO_FAR = ("restarts", "replaced", "requeued", "unanswered")  # counted from the start of a process


def fault_numbers(run: RunRecord) -> list[Number]:
    """The section `fault`: counts above 0 for each update and, without `update`, all counts of the run. `item` is the
    reason where one was recorded; a number of the run without one counts whatever the reason."""
    numbers = list(_by_update(run))
    reasons = dict.fromkeys((number.metric, number.item) for number in numbers if number.item is not None)
    wanted = [*((metric, None) for metric in WORDS), *reasons]
    return [
        *numbers,
        *(
            Number(run.name, "fault", metric, sum((n.value for n in numbers if _fits(n, metric, item)), 0.0), item=item)
            for metric, item in wanted
        ),
    ]


def _fits(number: Number, metric: str, item: str | None) -> bool:
    return number.metric == metric and item in (None, number.item)


def _by_update(run: RunRecord) -> Iterator[Number]:
    before = dict.fromkeys(_SO_FAR, 0.0)
    for position, line in enumerate(run.lines):
        update, policy = int(line.get("update", position)), line.get("stage")

        def number(metric: str, count: float, reason: str | None = None, at: tuple = (update, policy)) -> Number:
            return Number(run.name, "fault", metric, float(count), update=at[0], policy=at[1], item=reason)

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
        yield from (number("groups_dropped", count, reason) for reason, count in _dropped(run, update, line).items())
        if line.get("unparsable"):
            yield number("unparsable", line["unparsable"])
        asked = _transport(run, policy)
        replicas = (line.get("weights") or {}).get("replicas") or {}
        for used in {replica.get("transport") for replica in replicas.values()} - {asked, None}:
            if asked is not None:
                count = sum(replica.get("transport") == used for replica in replicas.values())
                yield number("transport_failed", count, f"{used} in the place of {asked}")


def _dropped(run: RunRecord, update: int, line: dict) -> dict[str | None, int]:
    """Dropped groups by reason; without one where there are no trajectories."""
    if update in run.sums:
        return dict(run.sums[update].dropped)
    count = line.get("groups_dropped")
    return {None: count} if count else {}


def _transport(run: RunRecord, policy: str | None) -> str | None:
    sync = run.config.get("sync")
    return sync.get(policy) if isinstance(sync, dict) else None
