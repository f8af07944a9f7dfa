"""The page of the frontier, made from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.frontier.choosing import Choices, choose
from experiments.frontier.comparing import (
    ALL,
    Cells,
    Comparison,
    cells_of,
    comparisons_of,
    pooled_of,
    pooled_verdict,
    verdict,
)
from experiments.frontier.costs import Costs
from experiments.frontier.ledger import Ledger
from experiments.frontier.plot import frontier_plot
from experiments.frontier.prompts import BATCH, PHASES, SET_WORDS, SETS, seed_of
from experiments.frontier.rows import Rows
from experiments.frontier.systems import (
    BASE,
    BUDGETS,
    DRAW_STEPS,
    EDIT_STEPS,
    MOST_DRAWINGS,
    MOST_TURNS,
    RL_RIG,
    STARTS,
    SYSTEMS,
)
from experiments.markdown import markdown_templates
from experiments.point_charts import interval_text
from reports.intervals import Bootstrap
from scenes.whole_file import whole_file

PAGE, PLOT = "README.md", "frontier.svg"
COMMAND = """\
rlrig train --set 'stages=[{stage: actor, updates: 32}]' --out runs/actor
rlrig sft-actor --answers runs/actor/trajectories --out runs/imitating
python -m experiments.frontier --run presets/tiny/trained --imitating runs/imitating --validation 48 --test 64"""


def _difference_text(comparison: Comparison) -> str:
    if comparison.difference is None:
        return "RL-RIG does not fit"
    one = comparison.difference.absolute
    text = f"{one.mean:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
    return f"**{text}**" if comparison.clearly_below or comparison.clearly_above else text


def _differences(comparisons: list[Comparison]) -> dict[str, dict[str, list[str]]]:
    """By set and other system, a text for each budget."""
    found: dict[str, dict[str, dict[float, str]]] = {}
    for one in comparisons:
        found.setdefault(one.prompts, {}).setdefault(one.other.name, {})[one.budget] = _difference_text(one)
    return {
        prompts: {name: [texts.get(budget, "–") for budget in BUDGETS] for name, texts in systems.items()}
        for prompts, systems in found.items()
    }


def _cost_rows(costs: Costs) -> list[tuple[str, float]]:
    return [
        *((f"a drawing of {steps} steps", seconds) for steps, seconds in costs.draw.items()),
        *((f"an edit of {steps} steps", seconds) for steps, seconds in costs.edit.items()),
        ("a question to the Checker, one for each requirement of an image", costs.question),
        ("an answer of the Actor", costs.answer),
    ]


def _ledger_rows(ledger: Ledger, rows: Rows) -> list[dict[str, Any]]:
    return [
        {
            "phase": phase,
            "prompts": prompts,
            "seed": seed_of(phase, prompts),
            "count": len(rows.prompt_ids(phase, prompts)),
            "uses": ledger.uses(phase, prompts),
            "commands": ledger.commands(phase, prompts),
        }
        for phase in PHASES
        for prompts in SETS
    ]


def _tested(cells: Cells) -> Mapping[str, int]:
    """Prompts that the numbers of each set are of."""
    return {
        prompts: len(next(iter(next(iter(systems.values())).values())).scores.prompt_ids)
        for prompts, systems in cells.items()
        if systems
    }


def render(
    rows: Rows,
    costs: Costs,
    choices: Choices,
    ledger: Ledger,
    sources: Mapping[str, str],
    bootstrap: Bootstrap | None = None,
) -> dict[str, str]:
    """The files of the page by name."""
    bootstrap = bootstrap or Bootstrap()
    cells = cells_of(rows, costs, choices, bootstrap)
    comparisons, pooled = comparisons_of(cells, bootstrap), pooled_of(cells, bootstrap)
    preview, plot = choose(rows, costs, Choices()), frontier_plot(cells)
    counts = [count for some in choices.prompts.values() for count in some.values()]
    environment = markdown_templates()
    text = environment.get_template("frontier.md.j2").render(
        verdict=f"{verdict(comparisons, preview)} {pooled_verdict(pooled)}".rstrip(),
        level=f"{100 * bootstrap.level:g} %",
        plot=PLOT if plot else None,
        ours=RL_RIG.name,
        sets=list(SETS),
        words=SET_WORDS,
        budgets=BUDGETS,
        differences=_differences(comparisons),
        pooled=_differences(pooled).get(ALL, {}),
        base=BASE.words,
        cells=cells,
        tested=_tested(cells),
        choices=choices,
        preview=preview,
        interval=interval_text,
        systems=SYSTEMS,
        missing={one.name for one in SYSTEMS} - {name for some in cells.values() for name in some},
        draw_steps=", ".join(map(str, DRAW_STEPS)),
        most_drawings=", ".join(f"{most} of {steps}" for steps, most in MOST_DRAWINGS.items()),
        starts=", ".join(f"{count} × {steps}" for count, steps in STARTS),
        edit_steps=", ".join(map(str, EDIT_STEPS)),
        most_turns=MOST_TURNS,
        validated=f"{min(counts)} to {max(counts)}" if counts else "none",
        batch=BATCH,
        costs=_cost_rows(costs),
        ledger=_ledger_rows(ledger, rows),
        sources=sources,
        command=COMMAND,
    )
    return {PAGE: text, PLOT: plot} if plot else {PAGE: text}


def write_page(
    rows: Rows, costs: Costs, choices: Choices, ledger: Ledger, sources: Mapping[str, str], folder: Path
) -> Path:
    """Write the page and its plot into `folder`, and return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in render(rows, costs, choices, ledger, sources).items():
        with whole_file(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    return folder / PAGE
