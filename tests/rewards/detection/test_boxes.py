from dataclasses import replace

import numpy as np
import pytest

from rewards.detection.boxes import DetectorBoxes, each_once
from rewards.scorers.preservation import Preservation
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES, PlacedObject, draw
from tests.rewards.detection.tiny_detectors import tiny_owlv2
from tests.rewards.turns import turn
from tests.scenes.detected.seen import find_shapes

STAR, CIRCLE = PlacedObject("red", "star", 14, 14, 7), PlacedObject("blue", "circle", 46, 20, 7)
BEFORE = draw((STAR, CIRCLE))


def test_boxes_of_an_item_are_those_of_its_colour() -> None:
    boxes = DetectorBoxes({}, find_shapes)
    (box,) = boxes(BEFORE, "blue circle")
    assert box == pytest.approx((39, 13, 53, 27), abs=1)
    assert boxes(BEFORE, "blue circle 2") == [box]
    assert boxes(BEFORE, "circle") == [box]
    assert boxes(BEFORE, "red circle") == []
    assert boxes(BEFORE, "green square") == []


def test_an_image_is_looked_at_once_for_each_name() -> None:
    asked = []

    def boxes(image: np.ndarray, name: str) -> list[tuple[float, ...]]:
        asked.append(name)
        return [(0, 0, 1, 1)]

    once = each_once(boxes)
    for name in ("star", "star", "circle"):
        assert once(BEFORE, name) == [(0, 0, 1, 1)]
    once(BEFORE.copy(), "star")
    assert asked == ["star", "circle", "star"]


def test_preservation_cuts_out_what_the_detector_finds(tmp_path, monkeypatch) -> None:
    moved = draw((replace(STAR, y=48), CIRCLE))
    both = draw((replace(STAR, y=48), replace(CIRCLE, y=44)))
    options = {"model": tiny_owlv2(tmp_path), "device": "cpu"}
    scorer = Preservation(boxes=options, share=0.0, measure="distance")
    monkeypatch.setattr(
        "rewards.detection.detector.Detector.__call__", lambda self, images, phrases: find_shapes(images, phrases)
    )
    graph = parse_prompt("red star below blue circle", PREDICATES)
    asked = "move red star down"
    one, two = scorer([turn(graph=graph, source=BEFORE, image=image, edit_prompt=asked) for image in (moved, both)])
    assert one > 0.99  # the star's points reach out of a box of its radius
    assert two < one - 0.05


def test_preservation_refuses_a_detector_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="model: '/nowhere' is refused"):
        Preservation(boxes={"model": "/nowhere"})
