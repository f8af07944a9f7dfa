"""What was measured: lines of JSON, one for a trace of one prompt. A trace says what came of each further drawing or
turn, so that one of them stands for many settings."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from experiments.frontier.prompts import BATCH
from presets.errors import BadInput

_DIGITS = 4


class Point(NamedTuple):
    """One image of a trace.

    Attributes:
        sg_iou: by the exact extractor.
        all_holds: whether the extractor finds every requirement met; 0 or 1.
        checker: the Checker's mean yes-probability.
        held: the fraction of requirements that hold by the Checker; 1 ends the trace.
        edits: edits so far; fewer than turns where an answer could not be read.
    """

    sg_iou: float
    all_holds: float
    checker: float
    held: float
    edits: int = 0


class Key(NamedTuple):
    """What tells a trace from every other one. `drawing` is the number of the one that a loop begins with; it is -1
    where the trace is that of the drawings, which have no Actor, editor and edit steps."""

    phase: str
    prompts: str
    prompt_id: str
    draw_steps: int
    drawing: int = -1
    actor: str = ""
    editor: str = ""
    edit_steps: int = 0


@dataclass(frozen=True)
class Trace:
    """`points` are the drawings in their order, or the image that a loop starts with and the answer after each turn.
    They end early where the Checker says that all holds, else after `most` drawings or turns.

    Attributes:
        relations: requirements of the prompt.
    """

    key: Key
    relations: int
    most: int
    points: tuple[Point, ...]

    def choice(self, drawings: int) -> int:
        """Of a trace of drawings: which one the Checker chooses of the first `drawings`. The most requirements hold in
        it, then its mean probability is the highest; the first of equals."""
        first = self.points[:drawings]
        return max(range(len(first)), key=lambda k: (first[k].held, first[k].checker, -k))

    @property
    def kept(self) -> Trace:
        """With as many digits as a line has: the Checker chooses the same before and after a line is read."""
        points = tuple(Point._make(round(value, _DIGITS) for value in point) for point in self.points)
        return replace(self, points=points)

    @property
    def line(self) -> str:
        """As a line of JSON."""
        return json.dumps(
            {**self.key._asdict(), **_without(asdict(self)), "points": self.points}, separators=(",", ":")
        )


def _without(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("key", "points")}


def start_key(phase: str, prompts: str, prompt_id: str, draw_steps: int) -> Key:
    """The key of the drawings that a setting begins with."""
    return Key(phase, prompts, prompt_id, draw_steps)


def loop_key(start: Key, drawing: int, actor: str, editor: str, edit_steps: int) -> Key:
    """The key of a loop that begins with one of the drawings of `start`."""
    return start._replace(drawing=drawing, actor=actor, editor=editor, edit_steps=edit_steps)


def whole_batches(prompt_ids: Sequence[str], known: Container[str]) -> list[str]:
    """The first prompts of a set for as long as all are known; only whole batches of them where some are not. A prompt
    whose drawing holds at once is done sooner, so that single ones of a batch would be the easy ones."""
    count = next((k for k, name in enumerate(prompt_ids) if name not in known), len(prompt_ids))
    return list(prompt_ids[: count if count == len(prompt_ids) else count - count % BATCH])


class Rows:
    """The traces of a folder, a file for each phase. New ones are appended, and the last of a key counts, so that an
    interrupted measurement goes on where it was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._traces: dict[Key, Trace] = {}
        for path in sorted(folder.glob("traces-*.jsonl")):
            self._read(path)

    def find(self, key: Key, most: int) -> Trace | None:
        """The trace of a key, where it is there and goes as far as `most`."""
        found = self._traces.get(key)
        return found if found is not None and (found.most >= most or found.points[-1].held >= 1.0) else None

    def keep(self, traces: Iterable[Trace]) -> None:
        """Append traces."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for trace in (one.kept for one in traces):
            self._traces[trace.key] = trace
            path = self.folder / f"traces-{trace.key.phase}.jsonl"
            with path.open("ab") as file:
                if file.tell():
                    file.truncate(path.read_bytes().rfind(b"\n") + 1)  # half a line of a stopped measurement
                file.write(f"{trace.line}\n".encode())

    def prompt_ids(self, phase: str, prompts: str) -> list[str]:
        """Prompts of a set with any trace, in the order of the set."""
        found = {key.prompt_id for key in self._traces if (key.phase, key.prompts) == (phase, prompts)}
        return sorted(found, key=lambda name: int(name.rpartition("-")[2]))

    def _read(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                values = json.loads(line)
                key = Key(**{name: values[name] for name in Key._fields})
                points = tuple(Point(*point) for point in values["points"])
                trace = Trace(key, values["relations"], values["most"], points)
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):  # a measurement that was stopped while it wrote
                    continue
                raise BadInput(f"{path}, line {number}: is no trace ({error}); remove the line") from error
            self._traces[key] = trace
