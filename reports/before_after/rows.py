"""The same held-out prompts before and after training, from what a run's folder holds of its evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.held_out import read_held_out
from reports.reading.text_file import lies_in
from reports.reading.traces import Trace, image_beside, read_trace, trace_files
from scenes.harmless_text import name_of

if TYPE_CHECKING:
    from measuring.evaluation import PromptScores

DIFFUSER, UNTRAINED, TRAINED = "Diffuser", "untrained", "trained"
MOST_ROWS = 8


@dataclass(frozen=True)
class Cell:
    """An image as PNG bytes, None where there is none, and whether every requirement holds in it."""

    image: bytes | None
    holds: bool


@dataclass(frozen=True)
class Row:
    """One prompt, a cell for each column."""

    requirements: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def prompt(self) -> str:
        """What was asked for, in one line."""
        return "; ".join(self.requirements)


@dataclass(frozen=True)
class BeforeAfter:
    """The first held-out prompts of a run, in their order. `exact`: the marks are the exact extractor's; otherwise they
    are the Checker's."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    exact: bool

    @property
    def judge(self) -> str:
        """Whose the marks are, in words."""
        return "the exact extractor" if self.exact else "the Checker"

    @property
    def held(self) -> list[int]:
        """For each column, in how many images every requirement holds."""
        return [sum(row.cells[column].holds for row in self.rows) for column in range(len(self.columns))]

    @property
    def counts(self) -> str:
        """The same in words."""
        told = (f"{name} {held} of {len(self.rows)}" for name, held in zip(self.columns, self.held, strict=True))
        return ", ".join(told)

    def as_json(self) -> dict[str, Any]:
        """Everything but the images."""
        return {
            "judge": self.judge,
            "all_hold": self.counts,
            "prompts": [
                {"prompt": row.prompt, **{n: cell.holds for n, cell in zip(self.columns, row.cells, strict=True)}}
                for row in self.rows
            ],
        }


@dataclass(frozen=True)
class _Played:
    """One episode of an evaluation, and where it lies."""

    path: Path
    trace: Trace


def before_after(run: Path) -> tuple[BeforeAfter | None, list[str]]:
    """The Diffuser's image, what the untrained loop made of it, and what the trained one made of it; and what could not
    be read.

    The columns are `Diffuser` and `untrained`, then `trained`, or `after N updates` while the run goes on. None where
    the run holds no episode of its first evaluation.
    """
    faults: list[str] = []
    last = next((path.parent.parent.name for path in trace_files(run)), "before")
    names = list(dict.fromkeys(("before", last)))
    played = [_played(run, name, faults) for name in names]
    truths = [_truths(run, name, faults) for name in names]
    rows: list[tuple[tuple[str, ...], list[bytes | None], list[bool], list[bool | None]]] = []
    for number in [number for number in played[0] if all(number in one for one in played)][:MOST_ROWS]:
        here = [one[number] for one in played]
        first = here[0].trace.turns[0]
        shown = [(here[0], first), *((one, one.trace.ends_with) for one in here)]
        exactly = [truths[0].get(("diffuser", here[0].trace.prompt_id))]
        exactly += [truth.get(("loop", one.trace.prompt_id)) for truth, one in zip(truths, here, strict=True)]
        images = [image_beside(one.path, turn.image, run) for one, turn in shown]
        rows.append((tuple(map(name_of, first.satisfaction)), images, [turn.holds for _, turn in shown], exactly))
    if not rows:
        return None, faults
    exact = all(None not in exactly for _, _, _, exactly in rows)
    columns = (DIFFUSER, UNTRAINED) if len(names) == 1 else (DIFFUSER, UNTRAINED, _called(last))
    cells = [
        Row(asked, tuple(map(Cell, images, map(bool, exactly if exact else checked))))
        for asked, images, checked, exactly in rows
    ]
    return BeforeAfter(columns, tuple(cells), exact), faults


def _called(evaluation: str) -> str:
    return TRAINED if evaluation == "after" else f"after {evaluation.removeprefix('after_')} updates"


def _played(run: Path, evaluation: str, faults: list[str]) -> dict[str, _Played]:
    """The episodes of an evaluation by the number of their prompt; those that cannot be read go to `faults`."""
    found = {}
    for path in trace_files(run, evaluation):
        try:
            trace = read_trace(path, run)
        except (ValueError, OSError) as error:
            faults.append(name_of(f"episodes/{evaluation}/{path.parent.name} is left out: {error}"))
            continue
        if trace.turns:
            found[path.parent.name] = _Played(path, trace)
    return found


def _truths(run: Path, evaluation: str, faults: list[str]) -> Mapping[tuple[str, str | None], bool]:
    """By images and prompt id whether all holds, as the exact extractor found; empty where that was not written."""
    path = run / "held_out" / f"{evaluation}.parquet"
    if not lies_in(path, run):
        return {}
    try:
        scores: PromptScores = read_held_out(path)[0]
    except ValueError as error:
        faults.append(name_of(str(error)))
        return {}
    return {
        (images, prompt): value >= 1.0
        for images, by_metric in scores.items()
        for prompt, value in by_metric.get("all_satisfied", {}).items()
    }
