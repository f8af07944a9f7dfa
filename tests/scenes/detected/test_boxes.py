import pytest

from scenes.detected.boxes import Box, Detection, distinct, overlap


def test_a_box_knows_its_middle_its_size_and_its_part_in_an_image() -> None:
    box = Box(-4, 2, 8, 12)
    assert (box.centre, box.size, box.area) == ((2, 7), (12, 10), 120)
    assert box.within(6, 10) == Box(0, 2, 6, 10)
    assert Box(5, 5, 2, 9).area == 0
    assert Box(20, 20, 30, 30).within(10, 10).area == 0


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(Box(0, 0, 4, 4), Box(2, 0, 6, 4)) == pytest.approx(8 / 24)
    assert overlap(Box(0, 0, 4, 4), Box(4, 4, 8, 8)) == 0
    assert overlap(Box(1, 1, 1, 1), Box(1, 1, 1, 1)) == 0


def test_of_boxes_that_show_the_same_the_surest_stays() -> None:
    cat = [Detection("cat", Box(0, 0, 10, 10), 0.4), Detection("cat", Box(1, 0, 11, 10), 0.9)]
    far = Detection("cat", Box(30, 30, 40, 40), 0.3)
    dog = Detection("dog", Box(0, 0, 10, 10), 0.2)
    flat = Detection("cat", Box(50, 5, 50, 9), 0.95)
    assert distinct([*cat, far, dog, flat]) == [cat[1], far, dog]
    assert distinct([*cat, far, dog], most=1) == [cat[1], dog]
    assert distinct(cat, most_overlap=1.0) == [cat[1], cat[0]]
