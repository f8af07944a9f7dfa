"""Photographs with what is on them, by hand: boxes, colours, relations. `python -m tests.scenes.detected.photographs`
prints how much of it the rules of `scenes.detected` read from pixels and boxes. No detector takes part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from scenes.detected.boxes import Box, Detection
from scenes.detected.colours import colours_in
from scenes.detected.reading import fitting
from scenes.detected.relations import relations
from scenes.scene_graph import Item
from tests.places import ROOT

FOLDER = ROOT / "tests" / "data" / "photographs"
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


@dataclass(frozen=True)
class Seen:
    """A thing on a photograph: its colour as a person calls it, and its box in pixels."""

    name: str
    colour: str
    box: Box


@dataclass(frozen=True)
class Photograph:
    """`holds` are relations between things by their names."""

    file: str
    things: tuple[Seen, ...]
    holds: tuple[tuple[str, str, str], ...] = ()

    @property
    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        with Image.open(FOLDER / self.file) as image:
            return np.asarray(image.convert("RGB"))

    def box(self, name: str) -> Box:
        """Where a thing is."""
        return next(thing.box for thing in self.things if thing.name == name)


PHOTOGRAPHS = (
    Photograph(
        "astronaut.jpg",
        (
            Seen("spacesuit", "orange", Box(20, 165, 285, 400)),
            Seen("helmet", "black", Box(218, 268, 400, 400)),
            Seen("shuttle", "white", Box(278, 0, 357, 222)),
            Seen("patch", "purple", Box(103, 272, 164, 332)),
        ),
        (
            ("helmet", "right of", "patch"),
            ("shuttle", "right of", "spacesuit"),
            ("shuttle", "above", "helmet"),
            ("patch", "left of", "shuttle"),
        ),
    ),
    Photograph(
        "coffee.jpg",
        (
            Seen("cup", "red", Box(115, 12, 283, 205)),
            Seen("saucer", "red", Box(50, 45, 320, 260)),
            Seen("spoon", "grey", Box(215, 45, 285, 217)),
            Seen("coffee", "brown", Box(135, 62, 248, 128)),
        ),
        (("spoon", "right of", "cup"),),
    ),
    Photograph(
        "chelsea.jpg",
        (
            Seen("cat", "brown", Box(0, 0, 345, 266)),
            Seen("first eye", "green", Box(118, 75, 185, 132)),
            Seen("second eye", "green", Box(260, 97, 305, 146)),
            Seen("nose", "brown", Box(205, 195, 262, 236)),
        ),
        (
            ("first eye", "left of", "second eye"),
            ("first eye", "above", "nose"),
            ("second eye", "above", "nose"),
        ),
    ),
    Photograph(
        "rocket.jpg",
        (Seen("rocket", "white", Box(191, 80, 213, 258)), Seen("sky", "blue", Box(0, 0, 400, 200))),
    ),
)


def colours_read() -> list[tuple[str, str, frozenset[str], bool]]:
    """For each thing its name, its colour, those that are read in its box, and whether a detection there would fit an
    item of that colour."""
    found = []
    for photograph in PHOTOGRAPHS:
        image = photograph.pixels
        for thing in photograph.things:
            item = Item(0, thing.name, (thing.colour,))
            fits = fitting(item, image, [Detection(thing.name, thing.box, 0.9)])
            found.append((thing.name, thing.colour, colours_in(image, thing.box), bool(fits)))
    return found


def relations_read() -> list[tuple[str, bool]]:
    """For each relation that holds, and for its opposite, whether the rule of GenEval says so of the boxes."""
    found = []
    for photograph in PHOTOGRAPHS:
        for subject, relation, other in photograph.holds:
            shown = relations(photograph.box(subject), photograph.box(other))
            found.append((f"{subject} {relation} {other}", relation in shown))
            found.append((f"not {subject} {OPPOSITE[relation]} {other}", OPPOSITE[relation] not in shown))
    return found


def report() -> str:
    """What was read, a line for each, and the counts."""
    colours, stands = colours_read(), relations_read()
    lines = [f"{'ok' if right else '--'}  {c} {n}: {', '.join(sorted(r)) or 'none'}" for n, c, r, right in colours]
    lines += [f"{'ok' if right else '--'}  {text}" for text, right in stands]
    right_colours, right_stands = sum(one[3] for one in colours), sum(right for _, right in stands)
    return "\n".join(
        [*lines, f"colours: {right_colours} of {len(colours)}; relations: {right_stands} of {len(stands)}"]
    )


if __name__ == "__main__":
    print(report())
