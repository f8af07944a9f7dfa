"""Episodes that a run recorded, in the form in which Studio shows turns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from reports.gallery import NOT_KEPT, Chip, ShownEpisode, choose, read_episodes
from reports.reading.columns import LONGEST_BINARY
from reports.reading.picture import Pictures
from reports.reading.text_file import read_text
from reports.reading.values import Checker, Faults, read_json
from scenes.harmless_text import name_of
from studio.pages.trajectory_file import file_of

if TYPE_CHECKING:
    from studio.pages.run_index import RunsFolder

MOST_HELD_OUT = 16
_MOST_TURNS = 100
_SIDE = 512  # pixels that an image is at most high and wide


class _TraceTurn(BaseModel):
    image: str = Field(pattern=r"^turn-\d+\.png$")
    reflection: str | None = None
    edit_prompt: str | None = None
    kept: bool
    satisfaction: dict[str, float]


class _Trace(BaseModel):
    prompt: str
    turns: list[_TraceTurn]


def recorded_episodes(folder: RunsFolder, run: Path, updates: Sequence[int]) -> list[dict[str, Any]]:
    """The held-out episodes that a run wrote, the newest evaluation first, then the episodes of training in these
    updates that gained most and least.

    Raises:
        NotThere, ValueError: the trajectories of an update are missing or cannot be read.
    """
    shown: list[ShownEpisode] = []
    for update in updates:
        shown += read_episodes(file_of(folder, run, update))[0]
    return _held_out(folder, run) + [_of_training(rank, episode) for rank, episode in choose(shown)]


def _held_out(folder: RunsFolder, run: Path) -> list[dict[str, Any]]:
    places = sorted((run / "episodes").glob("*/*/trace.json"), key=_place)
    return [_of_trace(folder, path) for path in places[:MOST_HELD_OUT]]


def _place(trace: Path) -> tuple[float, str, str]:
    """Evaluations from the last one to the first: `after`, `after_8`, `after_4`, `before`."""
    name, number = trace.parent.parent.name, trace.parent.name
    update = name.removeprefix("after_")
    age = (
        0.0
        if name == "after"
        else 1.0 / (int(update) + 1)
        if update.isascii() and update.isdigit() and len(update) < 10
        else 2.0
    )
    return age, name, number


def _of_trace(folder: RunsFolder, path: Path) -> dict[str, Any]:
    """One held-out episode; one that cannot be read has no turns, and its name says so."""
    name = name_of(f"held out, {path.parent.parent.name.replace('_', ' ')}, {path.parent.name}")
    try:
        if not folder.inside(path):
            raise ValueError("it leads out of the folder of runs")
        trace = _Trace.model_validate(_values(path))
        pictures = Pictures()
        turns = [
            _turn(index, _image(folder, path.parent / one.image, pictures), one)
            for index, one in enumerate(trace.turns[:_MOST_TURNS])
        ]
    except (ValueError, OSError) as error:
        why = "trace.json has another form" if isinstance(error, ValidationError) else "broken"
        return {"name": f"{name}: cannot be read ({why})", "lost": "", "turns": []}
    return {"name": f"{name}: {trace.prompt}", "lost": "no better, so not kept", "turns": turns}


def _values(path: Path) -> dict[str, Any]:
    text, faults = read_text(path)
    given = read_json(text)
    if faults or not isinstance(given, dict):
        raise ValueError("it holds no object")
    return Checker(path.name, Faults(path.name)).mapping(given)


def _image(folder: RunsFolder, path: Path, pictures: Pictures) -> str | None:
    if not path.is_file() or not folder.inside(path) or path.stat().st_size > LONGEST_BINARY:
        return None
    return pictures.shown(path.read_bytes(), _SIDE)


def _turn(index: int, image: str | None, turn: _TraceTurn) -> dict[str, Any]:
    return {
        "index": index,
        "image": image,
        "reflection": turn.reflection,
        "edit_prompt": turn.edit_prompt,
        "kept": turn.kept,
        "requirements": list(turn.satisfaction),
        "satisfaction": list(turn.satisfaction.values()),
    }


def _of_training(rank: str, episode: ShownEpisode) -> dict[str, Any]:
    """An episode of training, whose next turn starts from a member that was drawn by lot among those of its group."""
    pictures = Pictures()
    states: list[tuple[bytes | None, list[Chip], bool, str | None, str | None]]
    states = [(episode.image, episode.chips, True, None, None)]
    states += [
        (turn.image, turn.chips, turn.kept, turn.reflection, turn.edit_prompt)
        for turn in episode.turns
        if turn.edit_prompt is not None
    ]
    return {
        "name": f"{episode.stage}, update {episode.update}, {rank}: {episode.prompt}",
        "lost": "this member did not go on",
        "turns": [
            {
                "index": index,
                "image": pictures.shown(image, _SIDE),
                "without": NOT_KEPT if image is None else pictures.why,
                "reflection": reflection,
                "edit_prompt": edit_prompt,
                "kept": kept,
                "requirements": [chip.text for chip in chips],
                "satisfaction": [chip.probability or 0.0 for chip in chips],
            }
            for index, (image, chips, kept, reflection, edit_prompt) in enumerate(states)
        ],
    }
