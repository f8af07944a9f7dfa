"""One run that is hurt again and again, and resumed where it does not get over it by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from experiments.faults.audit import Ledger, audit, read_ledger
from experiments.faults.injury import injure
from experiments.faults.matrix import NODE, WHOLE, Cell, Placed
from experiments.faults.outcome import LOST, RESUMED, WENT_ON, Result
from experiments.faults.small_run import RUN_DEADLINE_S, SmallRun, resume
from presets.errors import RunFailed
from rlrig.run_folder import RunFolder

if TYPE_CHECKING:
    from experiments.faults.two_nodes import TwoNodes

_MOMENT_S = 600.0
_STUCK_S = 300.0  # twice what any part needs to be replaced with the deadlines of the small run
_SETTLED_S = 10.0


class FaultFailed(RunFailed):
    """The moment of `cell`'s fault never came, or there was nothing to hurt."""

    def __init__(self, cell: Cell, why: str) -> None:
        super().__init__(f"{cell.name}: the fault could not be done: {why}")
        self.cell = cell


def hurt_run(series: Sequence[Placed], shape: SmallRun, folder: Path, reference: Ledger) -> list[Result]:
    """Train in `folder`, do the faults one after another, and compare how it ended with the undisturbed `reference`.

    Returns:
        A result for each fault; where the run was lost, for the fault that lost it alone.

    Raises:
        FaultFailed: a fault could not be done.
    """
    with ExitStack() as stack:
        nodes: TwoNodes | None = None
        settings: tuple[str, ...] = ()
        if series[0].cell.role == NODE:
            from experiments.faults.two_nodes import TwoNodes

            nodes = stack.enter_context(TwoNodes())
            settings = (f"ray.address={nodes.address}",)
        hurt = _HurtRun(shape, folder, settings, nodes)
        stack.callback(lambda: hurt.run.kill_all())
        for placed in series:
            hurt.suffer(placed)
            if hurt.lost:
                break
        return hurt.end(reference)


class _HurtRun:
    def __init__(self, shape: SmallRun, folder: Path, settings: tuple[str, ...], nodes: TwoNodes | None) -> None:
        self._shape, self._folder, self._settings, self._nodes = shape, folder, settings, nodes
        folder.with_suffix(".log").unlink(missing_ok=True)
        self.run = shape.start(folder, *settings)
        self._results: list[Result] = []
        self._began = 0.0

    @property
    def lost(self) -> bool:
        return bool(self._results) and self._results[-1].outcome == LOST

    def suffer(self, placed: Placed) -> None:
        """Do the fault at its moment, and wait until an update shows that the run got over it."""
        while not self._moment(placed):
            if not self._results or self.run.process.poll() == 0:
                raise FaultFailed(placed.cell, f"{self._ended()}; see {self.run.log}")
            self._resume()  # what the fault before did shows only now
            if self.lost:
                return
        try:
            self._began = self._do(placed.cell)
        except (RunFailed, psutil.NoSuchProcess, ProcessLookupError) as error:
            raise FaultFailed(placed.cell, str(error)) from error
        self._results.append(Result(placed.cell, WENT_ON, None, 0, "", None))
        seconds = self._seconds_until(_update_from(placed.judged), len(self.run.events))
        if seconds is None:
            self._resume()
        else:
            self._amend(seconds=seconds)

    def end(self, reference: Ledger) -> list[Result]:
        """Wait for the end, and compare."""
        if not self.lost and self._code(RUN_DEADLINE_S) != 0:
            self._resume()
            if not self.lost and self._code(RUN_DEADLINE_S) != 0:
                self._amend(outcome=LOST, seconds=None, message=self.run.message or self._ended())
        if self.lost:
            return self._results[-1:]
        left, found = self._left_over(), audit(reference, read_ledger(self._folder))
        return [
            replace(one, audit=found, left_over=left if one.outcome == WENT_ON else one.left_over)
            for one in self._results
        ]

    def _moment(self, placed: Placed) -> bool:
        """Wait for it; False where the run ended or stood still before."""
        cell = placed.cell
        try:
            done = placed.update + (cell.phase == "checkpoint")  # its update is done by then
            what = f"{cell.phase} of update {placed.update}"
            self.run.wait_for(_beginning(cell.phase, done), what, _MOMENT_S)
        except RunFailed:
            return False
        time.sleep(cell.after_s)
        return True

    def _do(self, cell: Cell) -> float:
        """Returns when it was done, in seconds."""
        if cell.role == WHOLE:
            self.run.kill_all()
            return time.monotonic()
        for process in self._nodes.second() if self._nodes else self.run.of_role(cell.role)[:1]:
            gone = suppress(psutil.NoSuchProcess, ProcessLookupError)  # a lost node's raylet ends its workers, too
            with gone if self._nodes else nullcontext():
                injure(process, cell.fault)
        if self._nodes:
            self._nodes.replace()
        return time.monotonic()

    def _resume(self) -> None:
        """The run has failed since the last fault: end what is left of it, and go on from its last checkpoint."""
        code = self.run.process.poll()
        message = self.run.message or self._ended()
        left = self._left_over() if code is not None else 0
        self.run.kill_all()
        if self._nodes and self._results[-1].cell.fault == "memory":  # Ray goes on to start replicas there
            self._nodes.take_out()
        if RunFolder(self._folder).checkpoints():
            self.run = resume(self._folder)
        else:  # before the first one there is nothing to go on from
            self.run = self._shape.start(self._folder, *self._settings)
        seconds = self._seconds_until(lambda event: event["event"] in ("update", "finish"), 0)
        if seconds is None:
            message = f"{message} / resumed: {self.run.message or self._ended()}"
        outcome = LOST if seconds is None else RESUMED
        self._amend(outcome=outcome, seconds=seconds, left_over=left, message=message)

    def _seconds_until(self, wanted: Callable[[dict[str, Any]], bool], since: int) -> float | None:
        """From the last fault to the event; None where the run ended or stood still before it."""
        try:
            position = self.run.wait_for(wanted, "an update", _STUCK_S, since)
        except RunFailed:
            return None
        return self.run.events[position][0] - self._began

    def _code(self, deadline_s: float) -> int | None:
        try:
            return self.run.wait(deadline_s)
        except RunFailed:
            return None

    def _ended(self) -> str:
        code = self.run.process.poll()
        return "it stood still, and said nothing" if code is None else f"no word; exit code {code}"

    def _left_over(self) -> int:
        parts = [*self.run.processes(), *(self._nodes.parts() if self._nodes else ())]
        return len(psutil.wait_procs(parts, timeout=_SETTLED_S)[1])

    def _amend(self, **changes: Any) -> None:
        self._results[-1] = replace(self._results[-1], **changes)


def _update_from(number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["event"] == "update" and event["update"] >= number


def _beginning(phase: str, done: int) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["event"] == "begin" and event["phase"] == phase and event["done"] >= done
