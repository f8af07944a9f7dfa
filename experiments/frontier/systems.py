"""The systems that are compared, and the settings that each may take."""

from __future__ import annotations

from dataclasses import dataclass

RAW, TRAINED = "raw", "trained"
TEMPLATE, ORACLE, IMITATING = "template", "oracle", "imitating"
DRAW_STEPS = (8, 12, 24)
EDIT_STEPS = (2, 4)
MOST_DRAWINGS = {8: 14, 12: 8, 24: 4}
MOST_TURNS = 6


@dataclass(frozen=True, order=True)
class Setting:
    """How a system makes an image. Drawings stop at the first one of which the Checker says that all holds, and so do
    turns.

    Attributes:
        drawings: first images at most, of which the Checker chooses one.
        draw_steps: denoising steps of a drawing.
        turns: edits at most.
        edit_steps: denoising steps of an edit; 0 where there are no turns.
    """

    drawings: int
    draw_steps: int
    turns: int = 0
    edit_steps: int = 0

    @property
    def words(self) -> str:
        """`3 × 8, then 2 × 4`: drawings × steps, turns × steps."""
        drawn = f"{self.drawings} × {self.draw_steps}"
        return f"{drawn}, then {self.turns} × {self.edit_steps}" if self.turns else drawn


@dataclass(frozen=True)
class System:
    """`actor` and `editor` say which weights, or what takes the Actor's place; None: no edits. `chooses`: whether it
    may draw more than one first image. `kind`: `untrained`, `trained`, or `bound`, which knows what no system can."""

    name: str
    what: str
    kind: str
    actor: str | None = None
    editor: str | None = None
    chooses: bool = True

    @property
    def answers(self) -> bool:
        """Whether a model answers, which takes time."""
        return self.actor in (RAW, TRAINED, IMITATING)


RL_RIG = System(
    "RL-RIG after best-of-k", "the Checker's choice, then trained Actor and editor", "trained", TRAINED, TRAINED
)
PLAIN = System("RL-RIG", "one drawing, then trained Actor and editor", "trained", TRAINED, TRAINED, chooses=False)
RAW_LOOP = System("Raw loop", "RL-RIG before training", "untrained", RAW, RAW, chooses=False)
SYSTEMS = (
    System("Diffuser", "one drawing", "untrained", chooses=False),
    System("Best-of-k", "the Checker's choice of k drawings", "untrained"),
    System(
        "Template Actor",
        "one drawing, then edits that restate an unmet requirement, without an Actor; raw editor",
        "untrained",
        TEMPLATE,
        RAW,
        chooses=False,
    ),
    System(
        "Template Actor after best-of-k",
        "the Checker's choice, then edits as of the Template Actor; raw editor",
        "untrained",
        TEMPLATE,
        RAW,
    ),
    RAW_LOOP,
    System("Raw loop after best-of-k", "the Checker's choice, then the raw loop", "untrained", RAW, RAW),
    System(
        "Imitating Actor after best-of-k",
        "the Checker's choice, then an Actor that was fine-tuned on its own answers that helped (RAFT); raw editor",
        "trained",
        IMITATING,
        RAW,
    ),
    PLAIN,
    RL_RIG,
    System(
        "Oracle Actor after best-of-k",
        "the Checker's choice, then the best move for the true layout; raw editor",
        "bound",
        ORACLE,
        RAW,
    ),
)
BASE = Setting(drawings=1, draw_steps=24, turns=2, edit_steps=4)
"""RL-RIG's two turns as the preset plays them; its seconds are the unit of the budgets."""
BUDGETS = (0.5, 1.0, 2.0, 4.0)
STARTS = ((1, 8), (1, 24), (2, 8), (4, 8), (8, 8))
_FEWER_EDIT_STEPS = ((1, 8),)
_OF_BOUND = ((4, 8),)


def settings_of(system: System) -> list[Setting]:
    """Every setting that the system is tried at."""
    if system.actor is None:
        return [
            Setting(count, steps)
            for steps in DRAW_STEPS
            for count in range(1, MOST_DRAWINGS[steps] + 1 if system.chooses else 2)
        ]
    return [
        Setting(count, steps, turns, edit_steps)
        for count, steps in (_OF_BOUND if system.kind == "bound" else STARTS)
        if system.chooses or count == 1
        for edit_steps in (EDIT_STEPS if (count, steps) in _FEWER_EDIT_STEPS else EDIT_STEPS[-1:])
        for turns in range(1, MOST_TURNS + 1)
    ]
