"""Chooses each system's own best setting for each budget, on the validation prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.frontier.costs import Costs, Outcome
from experiments.frontier.prompts import SETS, VALIDATION
from experiments.frontier.rows import Rows, loop_key, start_key, whole_batches
from experiments.frontier.systems import (
    BASE,
    BUDGETS,
    PLAIN,
    RAW_LOOP,
    SYSTEMS,
    Setting,
    System,
    settings_of,
)
from presets.errors import BadInput
from scenes.whole_file import whole_file

LEAST_PROMPTS = 16
"""Fewer tell nothing about a setting."""


def outcome(
    rows: Rows, costs: Costs, system: System, setting: Setting, phase: str, prompts: str, prompt_id: str
) -> Outcome | None:
    """What a setting makes of a prompt; None where it was not measured."""
    start = start_key(phase, prompts, prompt_id, setting.draw_steps)
    drawings = rows.find(start, setting.drawings)
    if drawings is None:
        return None
    first = costs.drawings(drawings, setting)
    if system.actor is None or system.editor is None:
        return first
    key = loop_key(start, drawings.choice(setting.drawings), system.actor, system.editor, setting.edit_steps)
    turns = rows.find(key, setting.turns)
    if turns is None:
        return None
    rest = costs.loop(turns, setting, answered=system.answers)
    return rest._replace(seconds=first.seconds + rest.seconds)


@dataclass(frozen=True)
class Tried:
    """A setting and its means over the validation prompts."""

    setting: Setting
    sg_iou: float
    seconds: float


@dataclass
class Choices:
    """What is tested. `units` are the seconds of RL-RIG's two turns by set, `unit_of` the system that they were
    measured with; `chosen` is by set, system and budget, None where no setting fits into the budget.

    What was chosen once is kept: a second choice after a look at the test would no longer be one of its own."""

    units: dict[str, float] = field(default_factory=dict)
    unit_of: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, dict[str, int]] = field(default_factory=dict)
    chosen: dict[str, dict[str, dict[str, Tried | None]]] = field(default_factory=dict)

    def settings(self, prompts: str) -> list[tuple[System, Setting]]:
        """What is to be tested on a set, each once."""
        found = {
            (system, tried.setting): None
            for system in SYSTEMS
            for tried in self.chosen.get(prompts, {}).get(system.name, {}).values()
            if tried is not None
        }
        return list(found)

    def of(self, prompts: str, system: System, budget: float) -> Tried | None:
        """What was chosen for a system and a budget."""
        return self.chosen.get(prompts, {}).get(system.name, {}).get(f"{budget:g}")

    def write(self, path: Path) -> None:
        """As JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Choices:
        """What `write` wrote; nothing where there is no file.

        Raises:
            BadInput: the file is not one of `write`.
        """
        if not path.is_file():
            return cls()
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            chosen = {
                prompts: {
                    name: {budget: _tried(one) for budget, one in budgets.items()} for name, budgets in some.items()
                }
                for prompts, some in values.pop("chosen").items()
            }
            return cls(**values, chosen=chosen)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"{path}: holds no choices ({error}); remove it to choose anew") from error


def _tried(value: Mapping[str, Any] | None) -> Tried | None:
    return None if value is None else Tried(Setting(**value["setting"]), value["sg_iou"], value["seconds"])


def outcomes(rows: Rows, costs: Costs, system: System, prompts: str) -> np.ndarray:
    """float64 (prompts, settings, 5): every setting of a system on the first validation prompts, as far as all
    settings were measured on them."""
    settings, ids = settings_of(system), rows.prompt_ids(VALIDATION, prompts)
    found: dict[str, list[Outcome]] = {}
    for prompt_id in ids:
        ones = [outcome(rows, costs, system, one, VALIDATION, prompts, prompt_id) for one in settings]
        complete = [one for one in ones if one is not None]
        if len(complete) == len(settings):
            found[prompt_id] = complete
    known = [found[prompt_id] for prompt_id in whole_batches(ids, found)]
    return np.array(known, dtype=float).reshape(len(known), len(settings), len(Outcome._fields))


def tried(system: System, some: np.ndarray) -> list[Tried]:
    """Every setting of a system with its means over `some` of the prompts of `outcomes`."""
    means = some.mean(axis=0)
    return [Tried(one, float(mean[0]), float(mean[-1])) for one, mean in zip(settings_of(system), means, strict=True)]


def best(candidates: list[Tried], seconds: float) -> Tried | None:
    """The highest SG-IoU within so many model seconds, the cheapest of equals; None where nothing fits."""
    within = [one for one in candidates if one.seconds <= seconds]
    return max(within, key=lambda one: (one.sg_iou, -one.seconds)) if within else None


def choose(rows: Rows, costs: Costs, before: Choices) -> Choices:
    """`before`, and a choice for every system that has none yet and was measured on `LEAST_PROMPTS` prompts or more;
    for all of these on the same prompts."""
    choices = Choices(dict(before.units), dict(before.unit_of), dict(before.prompts), dict(before.chosen))
    for prompts in SETS:
        some, counts = dict(choices.chosen.get(prompts, {})), dict(choices.prompts.get(prompts, {}))
        measured = {system: outcomes(rows, costs, system, prompts) for system in SYSTEMS}
        enough = {system: found for system, found in measured.items() if len(found) >= LEAST_PROMPTS}
        fewest = min(map(len, enough.values()), default=0)
        candidates = {system: tried(system, found[:fewest]) for system, found in enough.items()}
        for system in (PLAIN, RAW_LOOP):
            if prompts not in choices.units and system in candidates:
                unit = next(one for one in candidates[system] if one.setting == BASE)
                choices.units[prompts], choices.unit_of[prompts] = unit.seconds, system.name
        for system, ones in candidates.items():
            if system.name not in some and prompts in choices.units:
                seconds = choices.units[prompts]
                some[system.name] = {f"{budget:g}": best(ones, budget * seconds) for budget in BUDGETS}
                counts[system.name] = fewest
        choices.chosen[prompts], choices.prompts[prompts] = some, counts
    return choices
