"""The same held-out prompts before and after training as one picture, to be sent or put into a page."""

from __future__ import annotations

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw

from reports.before_after.rows import BeforeAfter, Cell, Row
from reports.drawing.paper import EDGE, GREEN, GREY, INK, RED, Line, fitted, write_lines
from reports.reading.picture import decoded
from scenes.whole_file import whole_file

PICTURE, THUMBNAIL = "before_after.png", "before_after_small.png"
_SIDE, _GAP, _EDGE = 192, 20, 6  # pixels; the picture is made to be shown at half its size
_TEXT, _LINE, _COLUMNS, _MOST_LINES = 26, 31, 23, 6
_LABEL, _BADGE, _MARGIN = 310, 20, 28
_BLOCK = 4  # rows below each other; further ones go to the right
_SMALL, _SMALL_EDGE, _SMALL_ROWS = 30, 2, 2


def picture(found: BeforeAfter, title: str) -> Image.Image:
    """Rows of the Diffuser's, the untrained and the trained image. A green edge with a tick: every requirement holds; a
    red one with a cross: one does not."""
    blocks = [found.rows[k : k + _BLOCK] for k in range(0, len(found.rows), _BLOCK)]
    block = _LABEL + (_SIDE + _GAP) * len(found.columns)
    width = max(2 * _MARGIN + block * len(blocks) + 2 * _GAP * (len(blocks) - 1), 900)
    top = _MARGIN + 5 * _LINE
    height = top + (_SIDE + _GAP) * max(map(len, blocks)) + 2 * _LINE
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    write_lines(pen, _MARGIN, _MARGIN, [(title, INK)], _TEXT + 6, _LINE)
    for place, rows in enumerate(blocks):
        left = _MARGIN + place * (block + 2 * _GAP)
        for column, name in enumerate(found.columns):
            x = left + _LABEL + (_SIDE + _GAP) * column
            heading: list[Line] = [(name, INK)]
            if place == 0:
                heading.append((f"{found.held[column]} of {len(found.rows)} hold", GREY))
            write_lines(pen, x, top - 2 * _LINE - 14, heading, _TEXT, _LINE)
        for number, row in enumerate(rows):
            _row(sheet, pen, left, top + (_SIDE + _GAP) * number, row)
    end: list[Line] = [(f"Tick: every requirement holds, as {found.judge} finds.", GREY)]
    write_lines(pen, _MARGIN, height - _MARGIN - _LINE, end, _TEXT, _LINE)
    return sheet


def thumbnail(found: BeforeAfter) -> Image.Image:
    """The images of the first rows alone, small, with the colour of their edge."""
    step = _SMALL + 2 * _SMALL_EDGE + 2
    rows = found.rows[:_SMALL_ROWS]
    sheet = Image.new("RGBA", (step * len(found.columns), step * len(rows)))
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row.cells):
            _image(sheet, pen, (step * column + _SMALL_EDGE, step * number + _SMALL_EDGE), cell, _SMALL, _SMALL_EDGE)
    return sheet


def write_pictures(found: BeforeAfter, folder: Path, name: str) -> Path:
    """Write the picture and its thumbnail; returns the path of the picture."""
    title = f"{name}: the first {len(found.rows)} held-out prompts, none chosen"
    for file, image in ((PICTURE, picture(found, title)), (THUMBNAIL, thumbnail(found))):
        with whole_file(folder / file) as partial:
            image.save(partial, format="PNG", optimize=True)
    return folder / PICTURE


def _row(sheet: Image.Image, pen: ImageDraw.ImageDraw, left: int, top: int, row: Row) -> None:
    lines = [line for text in row.requirements for line in textwrap.wrap(text, _COLUMNS, subsequent_indent="   ")]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], "…"]
    write_lines(pen, left, top, [(line, INK) for line in lines], _TEXT, _LINE)
    for column, cell in enumerate(row.cells):
        x = left + _LABEL + (_SIDE + _GAP) * column
        _image(sheet, pen, (x, top), cell, _SIDE, _EDGE)
        _badge(pen, x + _SIDE - 4, top + _SIDE - 4, cell.holds)


def _image(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, place: tuple[int, int], cell: Cell, side: int, edge: int
) -> None:
    x, y = place
    shown = decoded(cell.image)
    pen.rectangle((x - edge, y - edge, x + side + edge - 1, y + side + edge - 1), fill=GREEN if cell.holds else RED)
    if shown is None:
        pen.rectangle((x, y, x + side - 1, y + side - 1), fill=EDGE)
    else:
        sheet.paste(fitted(shown, side), place)


def _badge(pen: ImageDraw.ImageDraw, x: int, y: int, holds: bool) -> None:
    """A tick or a cross about (x, y), as lines: not every font has them."""
    pen.ellipse(
        (x - _BADGE, y - _BADGE, x + _BADGE, y + _BADGE), fill=GREEN if holds else RED, outline="white", width=2
    )
    tick, cross = (
        [((-0.5, 0.05), (-0.12, 0.42), (0.52, -0.38))],
        [((-0.4, -0.4), (0.4, 0.4)), ((0.4, -0.4), (-0.4, 0.4))],
    )
    for stroke in tick if holds else cross:
        pen.line([(x + _BADGE * a, y + _BADGE * b) for a, b in stroke], fill="white", width=5, joint="curve")
