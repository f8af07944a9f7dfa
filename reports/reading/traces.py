"""The held-out episodes that a run wrote as files: a `trace.json` for each, and the images beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from reports.reading.columns import LONGEST_BINARY
from reports.reading.text_file import bytes_of, read_text
from reports.reading.values import Checker, Faults, read_json
from rewards.satisfaction import HOLDS

FILE = "trace.json"


class TraceTurn(BaseModel):
    """One image of an episode, and the texts that led to it."""

    image: str = Field(pattern=r"^turn-\d+\.png$")
    reflection: str | None = None
    edit_prompt: str | None = None
    kept: bool
    satisfaction: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether the Checker finds every requirement met."""
        return all(value >= HOLDS for value in self.satisfaction.values())


class Trace(BaseModel):
    """An episode. `prompt_id` is the `img_id` of its scene graph, None where an older version wrote it."""

    prompt: str
    prompt_id: str | None = None
    turns: list[TraceTurn]

    @property
    def ends_with(self) -> TraceTurn:
        """The image that was kept last, the first one where none says so; there must be a turn."""
        return next((turn for turn in reversed(self.turns) if turn.kept), self.turns[0])


def trace_files(run: Path, evaluation: str = "*") -> list[Path]:
    """The files of a run's evaluation, or of all of them: the newest evaluation first, in the order of the prompts."""
    return sorted((run / "episodes").glob(f"{evaluation}/*/{FILE}"), key=_place)


def read_trace(path: Path, root: Path) -> Trace:
    """One episode.

    Args:
        root: what the file must lie in, links followed.

    Raises:
        ValueError: it does not, or holds something else; the message says what in a few words.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError("it leads out of the folder of runs")
    text, faults = read_text(path)
    given = read_json(text)
    if faults or not isinstance(given, dict):
        raise ValueError("it holds no object")
    values: dict[str, Any] = Checker(path.name, Faults(path.name)).mapping(given)
    try:
        trace = Trace.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"{FILE} has another form") from error
    return trace


def image_beside(trace: Path, name: str, root: Path) -> bytes | None:
    """The bytes of an image of an episode; None where there is none within `root`, or it is too large."""
    return bytes_of(trace.parent / name, root, LONGEST_BINARY)


def _place(trace: Path) -> tuple[float, str, str]:
    """Evaluations from the last one to the first: `after`, `after_8`, `after_4`, `before`."""
    name, number = trace.parent.parent.name, trace.parent.name
    update = name.removeprefix("after_")
    numbered = update.isascii() and update.isdigit() and len(update) < 10
    return 0.0 if name == "after" else 1.0 / (int(update) + 1) if numbered else 2.0, name, number
