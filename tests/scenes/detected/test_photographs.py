"""What the rules read of real photographs, with boxes by hand; and that the page says the same."""

from __future__ import annotations

import pytest

from scenes.detected.boxes import Box
from scenes.detected.colours import colours_in
from scenes.detected.relations import relations
from tests.docs.pages import DOCS
from tests.scenes.detected.photographs import (
    FOLDER,
    OPPOSITE,
    PHOTOGRAPHS,
    Photograph,
    colours_read,
    relations_read,
    report,
)


def test_the_page_says_how_much_of_the_photographs_the_rules_read() -> None:
    colours, stands = colours_read(), relations_read()
    right_colours, right_stands = sum(right for *_, right in colours), sum(right for _, right in stands)
    page = " ".join((DOCS / "extending" / "detector.md").read_text(encoding="utf-8").split())
    assert f"{right_colours} of {len(colours)} colours" in page
    assert f"{right_stands} of {len(stands)} relations" in page
    assert report().endswith(f"colours: {right_colours} of {len(colours)}; relations: {right_stands} of {len(stands)}")
    assert right_stands / len(stands) >= 0.9
    assert right_colours >= 6


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=[one.file for one in PHOTOGRAPHS])
def test_mirrored_photographs_keep_their_colours_and_swap_their_sides(photograph: Photograph) -> None:
    image = photograph.pixels
    height, width, _ = image.shape
    mirrored = {
        thing.name: Box(width - thing.box.right, thing.box.top, width - thing.box.left, thing.box.bottom)
        for thing in photograph.things
    }
    for thing in photograph.things:
        assert 0 <= thing.box.left < thing.box.right <= width
        assert 0 <= thing.box.top < thing.box.bottom <= height
        before, after = colours_in(image, thing.box), colours_in(image[:, ::-1], mirrored[thing.name])
        assert len(before ^ after) <= 1  # the middle of an odd box moves by a pixel
    for subject, _, other in photograph.holds:
        shown = relations(photograph.box(subject), photograph.box(other))
        swapped = [OPPOSITE[one] if one in ("left of", "right of") else one for one in shown]
        assert sorted(relations(mirrored[subject], mirrored[other])) == sorted(swapped)


def test_every_photograph_stands_with_its_licence() -> None:
    notes = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert {file.name for file in FOLDER.glob("*.jpg")} == {one.file for one in PHOTOGRAPHS}
    for one in PHOTOGRAPHS:
        (row,) = [line for line in notes.splitlines() if f"`{one.file}`" in line]
        assert row.rstrip("| ").endswith(("CC0", "public domain"))
