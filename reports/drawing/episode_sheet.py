"""One picture of a whole episode: every image, which requirements hold in it, and the texts that led to it."""

from __future__ import annotations

import textwrap

from PIL import Image, ImageDraw

from reports.drawing.paper import EDGE, GREEN, GREY, INK, RED, Line, fitted, write_lines
from rewards.satisfaction import HOLDS
from rollout.state import Episode, Frame

_SIDE = 256
_MARGIN = 14
_TEXT, _LINE = 13, 17
_COLUMNS = 38  # characters in a line of text


def episode_sheet(episode: Episode) -> Image.Image:
    """The images side by side, enlarged; below each, its requirements in green or red, above it, the edit prompt."""
    heads = [[("Diffuser", GREY)] if frame.edit_prompt is None else _head(frame) for frame in episode.frames]
    feet = [
        [
            (line, GREEN if probability >= HOLDS else RED)
            for requirement, probability in zip(episode.graph.requirements, frame.satisfaction, strict=True)
            for line in textwrap.wrap(f"{requirement.text}  {probability:.2f}", _COLUMNS)
        ]
        for frame in episode.frames
    ]
    top = _MARGIN + _LINE * max(map(len, heads)) + 6
    height = top + _SIDE + 8 + _LINE * max(map(len, feet)) + _MARGIN
    sheet = Image.new("RGB", (_MARGIN + (_SIDE + _MARGIN) * len(episode.frames), height), "white")
    pen = ImageDraw.Draw(sheet)
    for index, frame in enumerate(episode.frames):
        left = _MARGIN + (_SIDE + _MARGIN) * index
        write_lines(pen, left, top - 6 - _LINE * len(heads[index]), heads[index], _TEXT, _LINE)
        sheet.paste(fitted(frame.image, _SIDE), (left, top))
        pen.rectangle((left - 1, top - 1, left + _SIDE, top + _SIDE), outline=EDGE)
        write_lines(pen, left, top + _SIDE + 8, feet[index], _TEXT, _LINE)
    return sheet


def _head(frame: Frame) -> list[Line]:
    lines: list[Line] = [(line, GREY) for line in textwrap.wrap(f"sees: {frame.reflection}", _COLUMNS)]
    lines += [(line, INK) for line in textwrap.wrap(f"edit: {frame.edit_prompt}", _COLUMNS)]
    return lines if frame.kept else [*lines, ("discarded: no better", RED)]
