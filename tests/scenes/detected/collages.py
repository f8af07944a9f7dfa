"""Photographs beside and above each other, so that it is known what is where.

`python -m tests.scenes.detected.collages` prints how much of it a detector with trained weights and the rules of
`scenes.detected` read from the pixels alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
from PIL import Image

from rewards.detection.reader import DetectorReader
from scenes.detected.reading import Find
from scenes.detected.relations import Rule
from scenes.kinds.kinds import Count as Counted
from scenes.kinds.kinds import Presence
from scenes.scene_graph import Item, Relation, SceneGraph
from tests.scenes.detected.photographs import FOLDER, OPPOSITE

THINGS = {"person": "astronaut.jpg", "cup": "coffee.jpg", "cat": "chelsea.jpg"}
"""COCO's name of what a photograph shows."""
NOT_SHOWN = ("dog", "car")
_SIDE = 320  # pixels of one photograph in a collage


def cases() -> Iterator[tuple[str, SceneGraph, np.ndarray, bool]]:
    """A kind, a scene graph of one requirement, a picture (H, W, 3) uint8, and whether the requirement holds."""
    for first, second in permutations(THINGS, 2):
        items = (Item(0, first), Item(1, second))
        for relation, axis in (("left of", 1), ("above", 0)):
            picture = np.concatenate([_square(first), _square(second)], axis=axis)
            for said, holds in ((relation, True), (OPPOSITE[relation], False)):
                graph = SceneGraph(f"{first} {said} {second}", items, (Relation(0, said, 1),))
                yield "relation", graph, picture, holds
            for name in (*THINGS, *NOT_SHOWN):
                graph = SceneGraph(f"a {name}", (), (), (Presence(name),))
                yield "presence", graph, picture, name in (first, second)
    for name in THINGS:
        for shown in (1, 2):
            picture = np.concatenate([_square(name)] * shown, axis=1)
            for number in (1, 2):
                graph = SceneGraph(f"{number} {name}", (), (), (Counted(name, number),))
                yield "count", graph, picture, number == shown


def _square(name: str) -> np.ndarray:
    """The photograph of a thing on a grey square, whole and in its own proportions."""
    with Image.open(FOLDER / THINGS[name]) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((_SIDE, _SIDE))
    square = Image.new("RGB", (_SIDE, _SIDE), (128, 128, 128))
    square.paste(picture, ((_SIDE - picture.width) // 2, (_SIDE - picture.height) // 2))
    return np.asarray(square)


def read_collages(find: Find, rule: Rule = "geneval") -> tuple[Counter[str], Counter[str], list[str]]:
    """By kind how many requirements there are, how many are read as they are, and the others in words."""
    ones = list(cases())
    readings = DetectorReader("", rule=rule, find=find).read(
        [graph for _, graph, _, _ in ones], [one[2] for one in ones]
    )
    asked, right, wrong = Counter[str](), Counter[str](), []
    for (kind, graph, _, holds), reading in zip(ones, readings, strict=True):
        (verdict,) = reading.verdicts
        asked[kind] += 1
        right[kind] += verdict.holds is holds
        if verdict.holds is not holds:
            wrong.append(f"{graph.img_id}: {verdict.reason or 'said to hold'}")
    return asked, right, wrong


def told(asked: Counter[str], right: Counter[str]) -> str:
    """`relations 24 of 24, …`."""
    return ", ".join(f"{kind}s {right[kind]} of {asked[kind]}" for kind in asked)


if __name__ == "__main__":
    from tests.scenes.detected.coco_detector import CocoDetector, detector_folder

    detector = CocoDetector(detector_folder(Path("~/.cache/rlrig").expanduser()))
    for rule in ("geneval", "visor"):
        asked, right, wrong = read_collages(detector, rule)
        print(*wrong, f"{rule}: {told(asked, right)}", sep="\n")
