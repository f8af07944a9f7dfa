"""From the files of a run to its status. Nothing here starts or imports an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from reports.reading.metrics import checked
from reports.reading.settings import read_settings
from reports.reading.summary import is_evaluation, summary_of
from reports.reading.values import Checker, Faults, is_count, is_number, read_json
from reports.status.sparkline import thin
from reports.status.status import Curve, Health, LiveRecord, RunStatus, State, Throughput
from scenes.harmless_text import name_of

PROGRESS, LOG = "progress.json", "log.txt"
Line = Mapping[str, Any]
_LATEST = 10  # updates that throughput is measured over
_COUNTED_UP = ("restarts", "replaced", "requeued", "unanswered")  # grow within a process, and begin at 0 in the next


def status_of(
    name: str,
    lines: Sequence[Line],
    record: LiveRecord | None,
    summary: Line,
    total: int | None,
    alive: bool | None = None,
    faults: Sequence[str] = (),
) -> RunStatus:
    """The status of a run.

    Args:
        lines: of metrics.jsonl.
        total: updates that the run file asks for; None where that cannot be known.
        alive: whether the process that `record` names exists; None where nobody can tell from here.
    """
    last = lines[-1] if lines else {}
    staleness = last.get("staleness") or {}
    running = record if record is not None and record.state == "running" else None
    return RunStatus(
        run=name,
        state=_state(record, summary, alive),
        error=record.error if record else None,
        phase=running.phase if running else None,
        phase_since=running.phase_since if running and running.phase else None,
        at=record.at if record else None,
        stage=last.get("stage"),
        updates=int(last["update"]) + 1 if "update" in last else (record.done if record else 0),
        total_updates=total if total is not None else (record.total if record else None),
        seconds_left=running.seconds_left if running else None,
        reward=Curve.of([line.get("reward_mean") for line in lines]),
        truth=Curve.of([line.get("truth_mean") for line in lines]),
        throughput=_throughput(lines[-_LATEST:]),
        versions={
            policy: int(version)
            for policy in ("actor", "editor")
            if (version := last.get(f"{policy}_version")) is not None
        },
        staleness_max=staleness.get("max"),
        staleness_mean=staleness.get("mean"),
        no_signal_share=_no_signal(lines),
        health=_health(lines, record),
        held_out=_held_out(summary),
        started=record.started if record else None,
        faults=list(faults),
    )


def _state(record: LiveRecord | None, summary: Line, alive: bool | None) -> State:
    if record is None:
        return "finished" if "minutes" in summary else "unknown"
    return "lost" if record.state == "running" and alive is False else record.state


def _throughput(lines: Sequence[Line]) -> Throughput:
    seconds = sum(_seconds(line) for line in lines)
    if not seconds:
        return Throughput()

    def rate(key: str) -> float | None:
        values = [line.get(key) for line in lines]
        return None if None in values else sum(filter(None, values)) / seconds

    return Throughput(
        seconds_per_update=seconds / len(lines),
        images_per_second=rate("images"),
        tokens_per_second=rate("answer_tokens"),
    )


def _seconds(line: Line) -> float:
    whole = line.get("seconds_total")
    return float(sum((line.get("seconds") or {}).values()) if whole is None else whole)


def _health(lines: Sequence[Line], record: LiveRecord | None) -> Health:
    return Health(
        **{key: _counted_up([line.get(key) or 0 for line in lines]) for key in _COUNTED_UP},
        rejected=sum(sum((line.get("rejected") or {}).values()) for line in lines),
        dropped=sum(line.get("groups_dropped") or 0 for line in lines),
        logger_failures=sum(record.logger_failures.values()) if record else 0,
    )


def _no_signal(lines: Sequence[Line]) -> float | None:
    """The share of all groups that were dropped."""
    counted = [line for line in lines if line.get("groups") is not None]
    dropped = sum(line.get("groups_dropped") or 0 for line in counted)
    groups = dropped + sum(line["groups"] for line in counted)
    return dropped / groups if groups else None


def _counted_up(values: Sequence[int]) -> int:
    """The total of a counter that begins at 0 again wherever it falls."""
    total = before = 0
    for value in values:
        total += value - before if value >= before else value
        before = value
    return total


def _held_out(summary: Line) -> dict[str, dict[str, float | None]]:
    found = {}
    for key, metrics in summary.items():
        if is_evaluation(key) and isinstance(metrics, Mapping):
            found[key] = {name: value for name, value in metrics.items() if value is None or is_number(value)}
    return found


def read_status(
    name: str,
    read: Callable[[str], str | None],
    is_alive: Callable[[LiveRecord], bool | None] = lambda _: None,
) -> RunStatus | None:
    """The status of the run whose files `read` gives by name (None for one that is not there); None where no run lies
    there. Files that are damaged are named in `faults`."""
    config = read("config.yaml")
    if config is None:
        return None
    faults: list[str] = []
    lines = metrics_lines(read("metrics.jsonl") or "", faults)
    text = read(PROGRESS)
    record = live_record(text, faults) if text is not None else None
    alive = is_alive(record) if record is not None else None
    summary, wrong = summary_of(read("summary.json") or "{}")
    faults += wrong
    return status_of(name_of(name), lines, record, summary, _asked_for(config, faults), alive, faults)


def metrics_lines(text: str, faults: list[str]) -> list[Line]:
    """The lines of metrics.jsonl; what is wrong with others is added to `faults`. Half a line at the end, as a run that
    is writing or was cut off leaves it, is no fault."""
    rows = text.encode("utf-8", errors="replace").splitlines(keepends=True)
    last = [] if not rows or rows[-1].endswith(b"\n") else [rows.pop()]
    lines, wrong = checked(rows)
    faults += wrong
    return [*lines, *checked(last)[0]]


def live_record(text: str, faults: list[str]) -> LiveRecord | None:
    """What a run said of itself."""
    wrong = Faults(PROGRESS)
    try:
        given = read_json(text)
        if not isinstance(given, dict):
            raise ValueError("it holds no object")
        return LiveRecord.model_validate(Checker(PROGRESS, wrong).mapping(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        wrong.add(f"{PROGRESS}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    except ValueError as error:
        wrong.add(f"{PROGRESS}: {error}")
    finally:
        faults += wrong.texts
    return None


def _asked_for(config: str, faults: list[str]) -> int | None:
    values, wrong = read_settings(config)
    faults += wrong
    counts = [stage.get("updates") if isinstance(stage, dict) else None for stage in values.get("stages") or []]
    known = [int(count) for count in counts if count is not None and is_count(count)]
    if counts and len(known) == len(counts):
        return sum(known)
    faults.append("config.yaml: says no number of updates")
    return None


def thinned(status: RunStatus, points: int) -> RunStatus:
    """The status without evaluations, and with curves of at most `points` values, means of stretches of updates."""
    curves = {
        name: curve.model_copy(update={"values": [_rounded(value) for value in thin(curve.values, points)]})
        for name, curve in (("reward", status.reward), ("truth", status.truth))
    }
    return status.model_copy(update={**curves, "held_out": {}})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
