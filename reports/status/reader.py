"""From the files of a run to its status. Nothing here starts or imports an engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from rollout.watching.sparkline import thin
from rollout.watching.status import Curve, Health, LiveRecord, RunStatus, State, Throughput

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
    running = record is not None and record.state == "running"
    return RunStatus(
        run=name,
        state=_state(record, summary, alive),
        error=record.error if record else None,
        phase=record.phase if running else None,
        phase_since=record.phase_since if running and record.phase else None,
        at=record.at if record else None,
        stage=last.get("stage"),
        updates=int(last["update"]) + 1 if "update" in last else (record.done if record else 0),
        total_updates=total if total is not None else (record.total if record else None),
        seconds_left=record.seconds_left if running else None,
        reward=Curve.of([line.get("reward_mean") for line in lines]),
        truth=Curve.of([line.get("truth_mean") for line in lines]),
        throughput=_throughput(lines[-_LATEST:]),
        versions={
            policy: int(last[f"{policy}_version"]) for policy in ("actor", "editor") if f"{policy}_version" in last
        },
        staleness_max=staleness.get("max"),
        staleness_mean=staleness.get("mean"),
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
    seconds = sum(line.get("seconds_total", sum(line.get("seconds", {}).values())) for line in lines)
    if not seconds:
        return Throughput()

    def rate(key: str) -> float | None:
        return sum(line[key] for line in lines) / seconds if all(key in line for line in lines) else None

    return Throughput(
        seconds_per_update=seconds / len(lines),
        images_per_second=rate("images"),
        tokens_per_second=rate("answer_tokens"),
    )


def _health(lines: Sequence[Line], record: LiveRecord | None) -> Health:
    return Health(
        **{key: _counted_up([line.get(key, 0) for line in lines]) for key in _COUNTED_UP},
        rejected=sum(sum(line.get("rejected", {}).values()) for line in lines),
        dropped=sum(line.get("groups_dropped", 0) for line in lines),
        logger_failures=sum(record.logger_failures.values()) if record else 0,
    )


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
        if (key in ("diffuser", "before") or key.startswith("after")) and isinstance(metrics, Mapping):
            found[key] = {name: value for name, value in metrics.items() if value is None or _is_number(value)}
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
    record = None
    if (text := read("progress.json")) is not None:
        try:
            record = LiveRecord.model_validate_json(text)
        except ValidationError as error:
            faults.append(f"progress.json: {error.errors(include_url=False)[0]['msg']}")
    alive = is_alive(record) if record is not None else None
    summary = _json(read("summary.json") or "{}", "summary.json", faults)
    return status_of(name, lines, record, summary, _asked_for(config, faults), alive, faults)


def metrics_lines(text: str, faults: list[str]) -> list[Line]:
    """The lines of metrics.jsonl; what is wrong with others is added to `faults`. Half a line at the end, as a run that
    is writing or was cut off leaves it, is no fault."""
    lines = []
    for number, row in enumerate(text.splitlines(keepends=True), start=1):
        line = _json(row, f"metrics.jsonl, line {number}", faults if row.endswith("\n") else [])
        if "update" in line:
            lines.append(line)
    return lines


def _json(text: str, what: str, faults: list[str]) -> Line:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        faults.append(f"{what}: broken JSON: {error}")
        return {}
    if not isinstance(values, dict):
        faults.append(f"{what}: holds no object")
        return {}
    return values


def _asked_for(config: str, faults: list[str]) -> int | None:
    try:
        return sum(int(stage["updates"]) for stage in yaml.safe_load(config)["stages"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        faults.append(f"config.yaml: says no number of updates: {type(error).__name__}: {error}")
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
