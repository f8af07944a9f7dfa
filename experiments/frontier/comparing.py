"""The numbers of the page: every system at its chosen settings on the test prompts, and RL-RIG against each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.frontier.choosing import Choices, Tried, outcome
from experiments.frontier.costs import Costs, Outcome
from experiments.frontier.prompts import SETS, TEST
from experiments.frontier.rows import Rows, whole_batches
from experiments.frontier.systems import BUDGETS, RL_RIG, SYSTEMS, System
from reports.intervals import Bootstrap, Difference, Interval, Scores

ALL = "all"
"""All sets together."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Measured:
    """A system at one budget: its setting, and what the test says; intervals over prompts."""

    tried: Tried
    scores: Scores
    sg_iou: Interval
    all_holds: float
    turns: float
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """RL-RIG minus another system on the same prompts. `difference` is None where no setting of RL-RIG fits into the
    budget and one of the other does."""

    prompts: str
    budget: float
    other: System
    difference: Difference | None

    @property
    def below(self) -> bool:
        """Whether RL-RIG scores lower on average, or cannot be had for the budget."""
        return self.difference is None or self.difference.absolute.mean < -_ROUNDING

    @property
    def clearly_below(self) -> bool:
        """Whether the whole interval is below zero."""
        return self.difference is not None and self.difference.absolute.high < -_ROUNDING

    @property
    def clearly_above(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.difference is not None and self.difference.absolute.low > _ROUNDING


Cells = dict[str, dict[str, dict[float, Measured]]]
"""By set, system and budget, as far as they were measured."""


def _measured(found: Mapping[str, Outcome], tried: Tried, bootstrap: Bootstrap) -> Measured:
    scores = Scores.from_cells({0: {prompt: one.sg_iou for prompt, one in found.items()}})
    count = len(found)
    return Measured(
        tried,
        scores,
        bootstrap.mean(scores),
        sum(one.all_holds for one in found.values()) / count,
        sum(one.turns for one in found.values()) / count,
        sum(one.seconds for one in found.values()) / count,
    )


def cells_of(rows: Rows, costs: Costs, choices: Choices, bootstrap: Bootstrap) -> Cells:
    """Every chosen setting on the prompts of its set that all chosen settings were tested on. A system none of whose
    prompts were tested is left out, and does not take prompts from the others."""
    cells: Cells = {}
    for prompts in SETS:
        ids = rows.prompt_ids(TEST, prompts)
        found: dict[tuple[str, float], tuple[Tried, dict[str, Outcome]]] = {}
        for system in SYSTEMS:
            for budget in BUDGETS:
                tried = choices.of(prompts, system, budget)
                if tried is None:
                    continue
                ones = {name: outcome(rows, costs, system, tried.setting, TEST, prompts, name) for name in ids}
                known = {name: one for name, one in ones.items() if one is not None}
                if known:
                    found[system.name, budget] = (tried, known)
        shared = whole_batches(ids, set.intersection(*(set(known) for _, known in found.values())) if found else set())
        cells[prompts] = {}
        for (name, budget), (tried, known) in found.items() if shared else ():
            some = {prompt: known[prompt] for prompt in shared}
            cells[prompts].setdefault(name, {})[budget] = _measured(some, tried, bootstrap)
    return cells


def comparisons_of(cells: Cells, bootstrap: Bootstrap) -> list[Comparison]:
    """RL-RIG against every other system at every budget that the other has a setting for; none where RL-RIG was not
    measured at all."""
    compared = []
    for prompts, systems in cells.items():
        ours = systems.get(RL_RIG.name)
        for system in SYSTEMS:
            if ours is None or system == RL_RIG:
                continue
            for budget, other in systems.get(system.name, {}).items():
                own = ours.get(budget)
                difference = None if own is None else bootstrap.difference(own.scores, other.scores)
                compared.append(Comparison(prompts, budget, system, difference))
    return compared


def pooled_of(cells: Cells, bootstrap: Bootstrap) -> list[Comparison]:
    """`comparisons_of` over the prompts of all sets, each prompt once, with the settings of its own set. Only systems
    and budgets for which every set has a setting; nothing while a set was not tested."""
    compared = []
    for system in SYSTEMS:
        for budget in BUDGETS if system != RL_RIG else ():
            ours, other = (_together(cells, name, budget) for name in (RL_RIG.name, system.name))
            if ours and other:
                compared.append(Comparison(ALL, budget, system, bootstrap.difference(ours, other)))
    return compared


def _together(cells: Cells, name: str, budget: float) -> Scores | None:
    """A system's scores of every set, the prompts under the name of their set; None where a set has none."""
    found: dict[str, float] = {}
    for prompts, systems in cells.items():
        one = systems.get(name, {}).get(budget)
        if one is None:
            return None
        values = zip(one.scores.prompt_ids, one.scores.values.mean(axis=0), strict=True)
        found |= {f"{prompts}/{prompt}": float(value) for prompt, value in values}
    return Scores.from_cells({0: found}) if found else None


def pooled_verdict(pooled: list[Comparison]) -> str:
    """How many untrained systems RL-RIG is clearly above over all prompts, by budget; empty without comparisons."""
    untrained = [one for one in pooled if one.other.kind == "untrained"]
    by_budget = {budget: [one for one in untrained if one.budget == budget] for budget in BUDGETS}
    told = [
        f"{sum(one.clearly_above for one in ones)} of {len(ones)} at {budget:g}×"
        for budget, ones in by_budget.items()
        if ones
    ]
    if not told:
        return ""
    below = sum(one.clearly_below for one in untrained) or "none"
    return (
        f"Over all prompts together, intervals of the difference to untrained systems above zero: {', '.join(told)}; "
        f"below zero: {below}."
    )


def validation_verdict(preview: Choices) -> str:
    """What the validation prompts say of RL-RIG and the untrained systems, where each is at its best setting there."""
    pairs = [
        (preview.of(prompts, RL_RIG, budget), other)
        for prompts in SETS
        for system in SYSTEMS
        for budget in BUDGETS
        if system.kind == "untrained" and RL_RIG.name in preview.chosen.get(prompts, {})
        if (other := preview.of(prompts, system, budget)) is not None
    ]
    if not pairs:
        return "There are not enough rows of a trained run."
    below = sum(own is None or own.sg_iou < other.sg_iou - _ROUNDING for own, other in pairs)
    return (
        "On the validation prompts, where each is at the setting that is best there, it scores lower, or has no "
        f"setting that fits, in {below} of {len(pairs)} comparisons."
    )


def verdict(comparisons: list[Comparison], preview: Choices) -> str:
    """The first line of the page: whether RL-RIG is at or above every untrained system at every budget. `preview` is
    what would be chosen now."""
    untrained = [one for one in comparisons if one.other.kind == "untrained"]
    if not untrained:
        return (
            "**Whether RL-RIG is at or above every untrained system at every budget was not tested yet.** "
            + validation_verdict(preview)
        )
    below = sum(one.below for one in untrained)
    counts = (
        f"{sum(one.clearly_above for one in untrained)} intervals of the difference lie above zero, "
        f"{sum(one.clearly_below for one in untrained)} below"
    )
    if not below:
        return (
            f"**RL-RIG is at or above every untrained system at every budget**, in all {len(untrained)} comparisons; "
            f"{counts}."
        )
    return (
        f"**RL-RIG is not at or above every untrained system at every budget**: it scores lower, or has no "
        f"setting that fits, in {below} of {len(untrained)} comparisons; {counts}."
    )
