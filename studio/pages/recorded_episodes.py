"""Episodes that a run recorded, in the form in which Studio shows turns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.gallery import NOT_KEPT, Chip, ShownEpisode, choose, read_episodes
from reports.reading.picture import Pictures
from reports.reading.traces import TraceTurn, image_beside, read_trace, trace_files
from scenes.harmless_text import name_of
from studio.pages.trajectory_file import file_of

if TYPE_CHECKING:
    from studio.pages.run_index import RunsFolder

MOST_HELD_OUT = 16
_MOST_TURNS = 100
_SIDE = 512  # pixels that an image is at most high and wide


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
    return [_of_trace(folder.root, path) for path in trace_files(run)[:MOST_HELD_OUT]]


def _of_trace(root: Path, path: Path) -> dict[str, Any]:
    """One held-out episode; one that cannot be read has no turns, and its name says so."""
    name = name_of(f"held out, {path.parent.parent.name.replace('_', ' ')}, {path.parent.name}")
    pictures = Pictures()
    try:
        trace = read_trace(path, root)
        turns = [
            _turn(index, pictures.shown(image_beside(path, one.image, root), _SIDE), one)
            for index, one in enumerate(trace.turns[:_MOST_TURNS])
        ]
    except ValueError as error:
        return {"name": name_of(f"{name}: cannot be read ({error})"), "lost": "", "turns": []}
    except OSError as error:  # whose words may tell a path
        return {"name": f"{name}: cannot be read ({type(error).__name__})", "lost": "", "turns": []}
    return {"name": f"{name}: {trace.prompt}", "lost": "discarded: no better", "turns": turns}


def _turn(index: int, image: str | None, turn: TraceTurn) -> dict[str, Any]:
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
        "lost": "this member was discarded",
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
