"""An episode as one picture that moves, turn after turn, to be sent to somebody."""

from __future__ import annotations

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw

from reports.drawing.paper import GREEN, GREY, INK, RED, Line, fitted, write_lines
from rewards.satisfaction import HOLDS
from rollout.state import Episode

_SIDE, _MARGIN, _TEXT, _LINE, _COLUMNS = 320, 12, 14, 18, 44
_TURN_MS, _LAST_MS = 1600, 3200


def animation(episode: Episode) -> list[Image.Image]:
    """One picture for each image of the episode, all of one size: the image, above it the edit prompt, below it the
    requirements that hold in green and the others in red."""
    heads = [_head(episode, index) for index in range(len(episode.frames))]
    feet = [
        [
            (line, GREEN if probability >= HOLDS else RED)
            for requirement, probability in zip(episode.graph.requirements, frame.satisfaction, strict=True)
            for line in textwrap.wrap(f"{'holds' if probability >= HOLDS else 'wrong'}: {requirement.text}", _COLUMNS)
        ]
        for frame in episode.frames
    ]
    top = 2 * _MARGIN + _LINE * max(map(len, heads))
    height = top + _SIDE + 2 * _MARGIN + _LINE * max(map(len, feet))
    pictures = []
    for head, foot, frame in zip(heads, feet, episode.frames, strict=True):
        picture = Image.new("RGB", (_SIDE + 2 * _MARGIN, height), "white")
        pen = ImageDraw.Draw(picture)
        picture.paste(fitted(frame.image, _SIDE), (_MARGIN, top))
        write_lines(pen, _MARGIN, _MARGIN, head, _TEXT, _LINE)
        write_lines(pen, _MARGIN, top + _SIDE + _MARGIN, foot, _TEXT, _LINE)
        pictures.append(picture)
    return pictures


def save_animation(episode: Episode, path: Path) -> None:
    """Write `animation` as a GIF that runs again and again, the last picture twice as long as the others."""
    first, *rest = animation(episode)
    seconds = [_TURN_MS] * len(rest) + [_LAST_MS]
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=seconds, loop=0, disposal=1)


def _head(episode: Episode, index: int) -> list[Line]:
    frame = episode.frames[index]
    if frame.edit_prompt is None:
        return [("The Diffuser's image", GREY)]
    lost = [] if frame.kept else [("discarded: no better", RED)]
    edit = [(line, INK) for line in textwrap.wrap(frame.edit_prompt, _COLUMNS)]
    return [(f"Turn {index}, the edit:", GREY), *edit, *lost]
