"""One picture of a whole episode: every image, which requirements hold in it, and the texts that led to it."""

from __future__ import annotations

import textwrap

from PIL import Image, ImageDraw, ImageFont

from rollout.state import HOLDS, Episode, Frame

_Colour = tuple[int, int, int]
_SIDE = 256
_MARGIN = 14
_LINE = 17
_COLUMNS = 38  # characters in a line of text
_INK, _GREEN, _RED, _GREY = (30, 30, 34), (22, 120, 60), (190, 35, 35), (110, 110, 118)


def episode_sheet(episode: Episode) -> Image.Image:
    """The images side by side, enlarged; below each, its requirements in green or red, above it, the edit prompt."""
    font = ImageFont.load_default(13)
    heads = [[("Diffuser", _GREY)] if frame.edit_prompt is None else _head(frame) for frame in episode.frames]
    feet = [
        [
            (line, _GREEN if probability >= HOLDS else _RED)
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
        _write(pen, left, top - 6 - _LINE * len(heads[index]), heads[index], font)
        sheet.paste(Image.fromarray(frame.image).resize((_SIDE, _SIDE), Image.Resampling.NEAREST), (left, top))
        pen.rectangle((left - 1, top - 1, left + _SIDE, top + _SIDE), outline=(200, 200, 206))
        _write(pen, left, top + _SIDE + 8, feet[index], font)
    return sheet


def _head(frame: Frame) -> list[tuple[str, _Colour]]:
    lines = [(line, _GREY) for line in textwrap.wrap(f"sees: {frame.reflection}", _COLUMNS)]
    lines += [(line, _INK) for line in textwrap.wrap(f"edit: {frame.edit_prompt}", _COLUMNS)]
    return lines if frame.kept else [*lines, ("no better, so not kept", _RED)]


def _write(
    pen: ImageDraw.ImageDraw,
    x: int,
    y: int,
    lines: list[tuple[str, tuple[int, int, int]]],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    for number, (text, colour) in enumerate(lines):
        pen.text((x, y + _LINE * number), text, fill=colour, font=font)
