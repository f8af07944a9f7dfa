"""What was run, in a few words: what stands at the head of a report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reports.number import Number
from reports.provenance.starts import seconds_of, values_by_update
from reports.tables import clock_text
from rollout.update_record import numbers_of
from scenes.harmless_text import harmless

if TYPE_CHECKING:
    from reports.run_record import RunRecord

_LONGEST = 300
_LATEST = 4e9  # seconds since the epoch; a later moment is damage
_ASKED = {  # words → key of the run file
    "seed": "seed",
    "data": "data.source",
    "Diffuser and editor": "models.flux",
    "Actor": "models.actor",
    "Checker": "models.checker",
    "prompts in an update": "rollout.prompts_per_update",
    "members in a group": "rollout.group_size",
    "turns": "rollout.turns",
    "group": "rollout.group",
    "reward": "rollout.reward",
    "greatest staleness": "rollout.max_staleness",
    "learning rate, Actor": "learner.actor.learning_rate",
    "learning rate, editor": "learner.editor.learning_rate",
    "held-out prompts": "evaluation.prompts",
}


def facts(run: RunRecord) -> dict[str, str]:
    """Short facts by name; what is not known is left out."""
    done = len(run.lines)
    state = "finished" if run.finished else "not finished"
    found = {"state": f"{state}, {done} of {run.planned} updates" if run.planned else f"{state}, {done} updates"}
    stages = [str(line.get("stage", "")) for line in run.lines]
    for stage in dict.fromkeys(stages):
        found[f"{stage} updates"] = str(stages.count(stage))
    for words, key in _ASKED.items():
        value = _value(run.config, key)
        stretches = values_by_update(run.starts, key, len(run.lines))
        if len(stretches) > 1:
            told = (f"{_text(one)} (updates {first} to {last})" for first, last, one in stretches)
            found[words] = ", then ".join(told)
        elif value is not None:
            found[words] = _text(value).rstrip("/").rsplit("/", 1)[-1] if key.startswith("models.") else _text(value)
    if len(scorers := _scorers(run.config)) > 1:
        found["scorers"] = harmless(", ".join(scorers), _LONGEST)
    if run.lines:
        versions = [(policy, run.lines[-1].get(f"{policy}_version")) for policy in ("actor", "editor")]
        found["last versions"] = ", ".join(f"{policy} {version}" for policy, version in versions if version is not None)
    if seconds := [line["seconds_total"] for line in run.lines if "seconds_total" in line]:
        found["time in updates"] = clock_text(sum(seconds))
    if len(run.starts) > 1:
        found["starts"] = f"{len(run.starts)}, from update {', '.join(str(start.update) for start in run.starts)}"
    if (whole := seconds_of(run.starts)) is not None:
        found["time of all starts" if len(run.starts) > 1 else "time of the whole run"] = clock_text(whole)
    elif run.finished and len(run.starts) < 2:
        found["time of the whole run"] = clock_text(60 * run.summary["minutes"])
    return {words: text for words, text in found.items() if text}


def own_reward(run: RunRecord) -> str:
    """The `module:name` of the reward of one's own that the run trains on; empty for those that come with this code."""
    asked = _value(run.config, "rollout.reward")
    return _text(asked) if isinstance(asked, str) and ":" in asked else ""


def starts_told(run: RunRecord) -> list[tuple[str, dict[str, str]]]:
    """For each start of a run its name, and in words when it began, what it was made with and which settings were
    others than those of the start before."""
    told = []
    for number, start in enumerate(run.starts):
        words = {"began": _moment(start.began), "took": clock_text(start.seconds) if start.seconds is not None else ""}
        words |= start.made_with
        words["seed"] = _text(start.config.get("seed", ""))
        if number:
            before, now = (_flat(_keyed(one.config)) for one in run.starts[number - 1 : number + 1])
            keys = [key for key in dict.fromkeys((*before, *now)) if before.get(key, "–") != now.get(key, "–")]
            changes = [f"{key} {_text(before.get(key, '–'))} → {_text(now.get(key, '–'))}" for key in keys]
            words["settings that changed"] = "; ".join(changes) or "none"
        told.append(
            (f"start {number + 1}, from update {start.update}", {what: text for what, text in words.items() if text})
        )
    return told


def _moment(seconds: float | None) -> str:
    """Seconds since the epoch as a date; empty where there is none that can be."""
    if seconds is None or not 0 <= seconds < _LATEST:
        return ""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def fact_numbers(run: RunRecord) -> list[Number]:
    """The sections `fact` and `configuration`: counts and times of the run, and every number of its run file."""
    counts = {"updates": float(len(run.lines))}
    if run.planned is not None:
        counts["updates_planned"] = float(run.planned)
    if run.finished:
        counts["minutes"] = float(run.summary["minutes"])
    for stage in dict.fromkeys(str(line.get("stage", "")) for line in run.lines):
        counts[f"updates_{stage}"] = float(sum(line.get("stage") == stage for line in run.lines))
    for policy in ("actor", "editor"):
        if run.lines and f"{policy}_version" in run.lines[-1]:
            counts[f"{policy}_version"] = float(run.lines[-1][f"{policy}_version"])
    return [
        *(Number(run.name, "fact", name, value) for name, value in counts.items()),
        *(
            Number(run.name, "configuration", ".".join(path), value)
            for path, value in numbers_of({key: _keyed(value) for key, value in run.config.items()})
        ),
    ]


def differing_settings(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Keys of the run files whose values are not the same in all runs, with each run's value, `–` where it has none."""
    flat = [_flat(_keyed(run.config)) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    table = {key: [_text(one.get(key, "–")) for one in flat] for key in keys}
    return {key: values for key, values in table.items() if len(set(values)) > 1}


def _scorers(config: Mapping[str, Any]) -> list[str]:
    """The entries of `rewards` with their weights: `0.5 × length`."""
    entries = config.get("rewards")
    known = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    return [f"{entry.get('weight', 1)} × {entry.get('name') or entry.get('scorer', 'checker')}" for entry in known]


def _value(config: Mapping[str, Any], key: str) -> Any:
    place: Any = config
    for part in key.split("."):
        place = place.get(part) if isinstance(place, Mapping) else None
    return place


def _text(value: Any) -> str:
    """A value as a run file writes it, the beginning of a long one."""
    return harmless(value if isinstance(value, str) else json.dumps(value), _LONGEST)


def _keyed(value: Any) -> Any:
    """The same with lists as mappings from their positions."""
    if isinstance(value, Mapping):
        return {str(key): _keyed(inner) for key, inner in value.items()}
    return {str(place): _keyed(inner) for place, inner in enumerate(value)} if isinstance(value, list) else value


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
