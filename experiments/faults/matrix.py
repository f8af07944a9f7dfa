"""The fault matrix: which part is hurt how and in which phase, and in which runs that is done, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from experiments.faults.injury import FAULTS
from experiments.faults.small_run import SmallRun
from experiments.faults.watched_run import DRIVER

NODE = "node"
WHOLE = "whole run"  # every process of it at once
ROLES = ("env_runner", "editor", "diffuser", "actor", "checker", "engine", "learner", "serve_controller", DRIVER, NODE)
PHASES = ("rollout", "learn", "sync", "checkpoint")
# Every role, fault and phase at least once, in an order that fills few runs.
FAST = (
    ("env_runner", "kill", "rollout"),
    ("env_runner", "hang", "rollout"),
    ("diffuser", "kill", "rollout"),
    ("actor", "kill", "rollout"),
    ("engine", "kill", "rollout"),
    ("checker", "interrupt", "learn"),
    ("editor", "hang", "rollout"),
    ("editor", "kill", "sync"),
    ("learner", "kill", "learn"),
    ("learner", "memory", "learn"),
    ("serve_controller", "kill", "sync"),
    (DRIVER, "kill", "checkpoint"),
    (NODE, "kill", "rollout"),
)


@dataclass(frozen=True)
class Cell:
    """One fault. The editor is hurt while it trains, everything else while the Actor does.

    Attributes:
        phase: in which it happens, or after which begins what it happens in.
        after_s: seconds from the beginning of the phase to the fault.
    """

    role: str
    fault: str
    phase: str
    after_s: float = 0.0

    @property
    def name(self) -> str:
        moment = f"-{self.after_s:.4f}s" if self.role == WHOLE else ""
        return f"{self.role}-{self.fault}-{self.phase}{moment}".replace(" ", "_")

    @property
    def span(self) -> int:
        """Updates until the fault has shown what it does: what is hurt after the rollout is missed in the next one."""
        return 1 if self.phase == "rollout" or self.role == WHOLE else 2


@dataclass(frozen=True)
class Placed:
    """A fault and the update, from 0, in which it happens."""

    cell: Cell
    update: int

    @property
    def judged(self) -> int:
        """The update whose end shows that the run got over it."""
        return self.update + self.cell.span - 1

    @property
    def latest(self) -> int:
        """The last update that the run must have: a kill some time after a phase began may fall into the next one."""
        return self.judged + (self.cell.role == WHOLE)


def all_cells() -> list[Cell]:
    """Every role, fault and phase."""
    return [_cell(*parts) for parts in product(ROLES, FAULTS, PHASES)]


def fast_cells() -> list[Cell]:
    """Every role, every fault and every phase at least once."""
    return [_cell(*parts) for parts in FAST]


def kills_at_random(count: int, seed: int, update_s: float) -> list[Cell]:
    """The whole run killed at moments that begin with a phase, any of them, and are uniform over the time that a phase
    of an update of `update_s` seconds takes on average."""
    random = np.random.default_rng(seed)
    phases, moments = random.choice(PHASES, count), random.uniform(0, update_s / len(PHASES), count)
    return [Cell(WHOLE, "kill", str(p), round(float(m), 4)) for p, m in zip(phases, moments, strict=True)]


def _cell(role: str, fault: str, phase: str) -> Cell:
    return Cell(role, fault, phase, 0.5 if phase == "rollout" else 0.0)  # at once, nothing is under way yet


def place(cells: Sequence[Cell], shape: SmallRun) -> list[Placed]:
    """As many of the cells, the first one among them, as one run takes one after another, each once the one before has
    shown what it does; update 0 is left alone. A lost node is the only fault of its run.

    Raises:
        ValueError: no cells, or a run of that shape has no room for the first one.
    """
    if not cells:
        raise ValueError("cells: there are none to place")
    if cells[0].role == NODE:
        return [Placed(cells[0], 1)]
    found: list[Placed] = []
    free = 1
    last = shape.updates - 1
    # A fault that shows after the Actor's last update takes one of the editor's, but not from the first cell.
    others_end = shape.actor - 1 if cells[0].role == "editor" else last
    # What is hurt while the Actor trains comes before what is hurt while the editor does.
    for cell in sorted(cells, key=lambda cell: cell.role == "editor"):
        update = max(free, shape.actor) if cell.role == "editor" else free
        begins, ends = (last, last) if cell.role == "editor" else (shape.actor - 1, others_end)
        placed = Placed(cell, update)
        if cell.role != NODE and update <= begins and placed.latest <= ends:
            found.append(placed)
            free = placed.judged + 1
    if cells[0] not in (placed.cell for placed in found):
        raise ValueError(f"{cells[0].name}: a run of {shape.actor} and {shape.editor} updates has no room for it")
    return found
