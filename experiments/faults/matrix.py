"""The fault matrix: which part is hurt how and in which phase, what came of it, and what that cost."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from experiments.faults.audit import Audit, Ledger, audit, read_ledger
from experiments.faults.injury import FAULTS, injure
from experiments.faults.small_run import RUN_DEADLINE_S, UPDATES, resume, start
from experiments.faults.watched_run import DRIVER, WatchedRun
from rollout.errors import RunFailed
from scenes.whole_file import whole_file

if TYPE_CHECKING:
    from experiments.faults.two_nodes import TwoNodes

NODE = "node"
ROLES = ("env_runner", "editor", "diffuser", "actor", "checker", "engine", "learner", "serve_controller", DRIVER, NODE)
PHASES = ("rollout", "learn", "sync", "checkpoint")
# Every role, fault and phase at least once.
FAST = (
    ("env_runner", "kill", "rollout"),
    ("env_runner", "hang", "rollout"),
    ("editor", "hang", "rollout"),
    ("editor", "kill", "sync"),
    ("diffuser", "kill", "rollout"),
    ("actor", "kill", "rollout"),
    ("checker", "interrupt", "learn"),
    ("engine", "kill", "rollout"),
    ("learner", "kill", "learn"),
    ("learner", "memory", "learn"),
    ("serve_controller", "kill", "sync"),
    (DRIVER, "kill", "checkpoint"),
    (NODE, "kill", "rollout"),
)
_START_S = 600.0
_STUCK_S = 600.0
_SETTLED_S = 10.0
Outcome = Literal["went on", "resumed", "lost"]


@dataclass(frozen=True)
class Cell:
    """One fault of the matrix. The editor is hurt while it trains, everything else while the Actor does."""

    role: str
    fault: str
    phase: str

    @property
    def name(self) -> str:
        return f"{self.role}-{self.fault}-{self.phase}"

    @property
    def update(self) -> int:
        """The update in which it happens."""
        return UPDATES + 1 if self.role == "editor" else 1


@dataclass(frozen=True)
class Result:
    """`outcome`: the run went on by itself, or after `rlrig train --resume`, or was lost. `seconds` passed from the
    fault to the next complete update; `left_over` processes were there after the run had ended; `message` is what it
    told its user."""

    cell: Cell
    outcome: Outcome
    seconds: float | None
    left_over: int
    message: str
    audit: Audit | None

    @property
    def sound(self) -> bool:
        return self.audit is not None and self.audit.sound


def all_cells() -> list[Cell]:
    """Every role, fault and phase."""
    return [Cell(*parts) for parts in product(ROLES, FAULTS, PHASES)]


def run_cell(cell: Cell, preset: Path, work: Path, reference: Ledger) -> Result:
    """Train, do the fault, wait for what comes of it, and resume where the run ended.

    Raises:
        RunFailed: the run never came to the moment of the fault.
    """
    folder = work / "runs" / cell.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(".log").unlink(missing_ok=True)
    if cell.role != NODE:
        return _run_cell(cell, preset, folder, reference, None)
    from experiments.faults.two_nodes import TwoNodes

    with TwoNodes() as nodes:
        return _run_cell(cell, preset, folder, reference, nodes)


def _run_cell(cell: Cell, preset: Path, folder: Path, reference: Ledger, nodes: TwoNodes | None) -> Result:
    with start(preset, folder, (f"ray.address={nodes.address}",) if nodes else ()) as run:
        began = _hurt(run, cell, nodes)
        position = len(run.events)
        try:
            code: int | None = run.wait(_STUCK_S)
        except RunFailed:
            code = None  # it hangs, and so does its user
        message = run.message or ("" if code == 0 else f"no word; exit code {code}")
        left_over = _left_over(run, nodes) if code is not None else 0
        seconds = _next_update(run, position, began)
    outcome: Outcome = "went on"
    if code != 0:
        outcome, seconds = "lost", None
        with resume(folder) as again:
            if again.wait(RUN_DEADLINE_S) == 0:
                outcome, seconds = "resumed", _next_update(again, 0, began)
            else:
                message = f"{message} / resumed: {again.message}"
    found = audit(reference, read_ledger(folder)) if outcome != "lost" else None
    return Result(cell, outcome, seconds, left_over, message, found)


def _hurt(run: WatchedRun, cell: Cell, nodes: TwoNodes | None) -> float:
    """Wait for the moment and do the fault; returns when that was."""
    before = run.wait_for(
        lambda event: event["event"] == "update" and event["update"] == cell.update - 1,
        f"update {cell.update - 1}",
        _START_S,
    )
    run.wait_for(
        lambda event: event["event"] == "begin" and event["phase"] == cell.phase,
        f"{cell.phase} of update {cell.update}",
        _START_S,
        before,
    )
    if cell.phase == "rollout":
        time.sleep(0.5)  # else nothing is under way yet
    for process in nodes.second() if nodes else run.of_role(cell.role)[:1]:
        with suppress(psutil.NoSuchProcess, ProcessLookupError) if nodes else nullcontext():  # its raylet ends it, too
            injure(process, cell.fault)
    if nodes:
        nodes.replace()
    return time.monotonic()


def _next_update(run: WatchedRun, position: int, began: float) -> float | None:
    times = [when for when, event in run.events[position:] if event["event"] == "update"]
    return times[0] - began if times else None


def _left_over(run: WatchedRun, nodes: TwoNodes | None) -> int:
    """Processes of the run that are still there some seconds after it ended."""
    _, alive = psutil.wait_procs([*run.processes(), *(nodes.parts() if nodes else ())], timeout=_SETTLED_S)
    return len(alive)


def run_cells(
    cells: list[Cell], preset: Path, work: Path, reference: Ledger, say: Callable[[str], None]
) -> Iterator[Result]:
    """The results of all cells; one that lies in `work` is read, not made again."""
    for number, cell in enumerate(cells, start=1):
        path = work / "cells" / f"{cell.name}.json"
        if path.is_file():
            yield _read(path)
            continue
        say(f"fault {number} of {len(cells)}: {cell.name}")
        try:
            result = run_cell(cell, preset, work, reference)
        except RunFailed as error:
            say(f"{cell.name}: the fault could not be done: {error}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
        say(f"{cell.name}: {result.outcome}, {result.audit}, {result.message}")
        yield result


def _read(path: Path) -> Result:
    values = json.loads(path.read_text(encoding="utf-8"))
    found = values.pop("audit")
    return Result(**{**values, "cell": Cell(**values["cell"])}, audit=Audit(**found) if found else None)
