"""The benchmarks' rules on boxes, with numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from measuring.benchmarks.published import LOCALITIES, read_t2i_spatial
from measuring.benchmarks.suite import DATA
from measuring.benchmarks.task import Task, related
from measuring.benchmarks.verdicts import geneval, laion_sg, t2i_position, t2i_spatial, visor, visor_result
from scenes.detected.boxes import Box, Detection

GREY = np.full((512, 512, 3), 127, np.uint8)
LEFT, RIGHT, TOP = Box(0, 200, 100, 300), Box(300, 200, 400, 300), Box(150, 0, 250, 100)


def saw(phrase: str, box: Box, score: float = 0.8) -> Detection:
    return Detection(phrase, box, score)


def test_geneval_asks_for_all_objects_their_count_their_place_and_nothing_excluded() -> None:
    record = {
        "tag": "position",
        "include": [{"class": "cat", "count": 1}, {"class": "dog", "count": 1, "position": ["right of", 0]}],
        "exclude": [{"class": "cat", "count": 2}],
    }
    good = [saw("cat", LEFT), saw("dog", RIGHT)]
    assert geneval(record, GREY, good).scores == {"our_geneval": 1.0, "our_geneval_position": 1.0}
    for wrong, why in (
        ([saw("cat", LEFT)], "0 of 1 dog found"),
        ([saw("dog", RIGHT)], "0 of 1 cat found; dog: what it should be right of was not found"),
        ([saw("cat", RIGHT), saw("dog", LEFT)], "dog: not right of"),
        ([*good, saw("cat", TOP, 0.3)], "2 cat, fewer than 2 were asked for"),
    ):
        verdict = geneval(record, GREY, wrong)
        assert (verdict.scores["our_geneval"], verdict.why) == (0.0, why)


def test_geneval_takes_the_surest_objects_and_reads_their_colours_from_pixels() -> None:
    image = GREY.copy()
    image[200:300, 0:100] = (220, 20, 20)
    record = {"tag": "colors", "include": [{"class": "cup", "count": 1, "color": "red"}]}
    assert geneval(record, image, [saw("cup", LEFT, 0.9), saw("cup", RIGHT, 0.5)]).scores["our_geneval_colors"] == 1
    assert geneval(record, image, [saw("cup", LEFT, 0.5), saw("cup", RIGHT, 0.9)]).why == "cup: not red"


@pytest.mark.parametrize(
    ("locality", "subject", "other", "score"),
    [
        ("on the left of", LEFT, RIGHT, 1.0),
        ("on the left of", RIGHT, LEFT, 0.0),
        ("on the right of", RIGHT, LEFT, 1.0),
        ("on the top of", TOP, LEFT, 1.0),  # 200 up, 150 aside
        ("on top of", TOP, LEFT, 1.0),
        ("on the bottom of", LEFT, TOP, 1.0),
        ("on the left of", LEFT, TOP, 0.0),  # the longer way is up
        ("near", LEFT, RIGHT, 1.0),  # at the same height
        ("next to", Box(0, 0, 100, 100), Box(300, 200, 400, 300), 0.5),  # 300 and 200 apart: 150 / 300
        ("on the left of", Box(0, 0, 100, 100), Box(50, 0, 150, 100), 0.3),  # an IoU of 1/3
    ],
)  # fmt: skip
def test_the_places_of_t2i_compbench(locality: str, subject: Box, other: Box, score: float) -> None:
    assert t2i_position(locality, subject, other) == pytest.approx(score)


_BOXES = st.tuples(*[st.integers(0, 400)] * 2, *[st.integers(1, 100)] * 2).map(
    lambda n: Box(n[0], n[1], n[0] + n[2], n[1] + n[3])
)


@given(_BOXES, _BOXES)
def test_at_most_one_side_holds_and_the_opposite_one_the_other_way(one: Box, other: Box) -> None:
    sides = ("on the left of", "on the right of", "on the top of", "on the bottom of")
    shown = {side: t2i_position(side, one, other) for side in sides}
    back = {side: t2i_position(side, other, one) for side in sides}
    assert sum(value > 0 for value in shown.values()) <= 1
    assert list(shown.values()) == [back[side] for side in (sides[1], sides[0], sides[3], sides[2])]
    assert all(0 <= t2i_position(near, one, other) <= 1 for near in LOCALITIES)


def test_the_score_of_t2i_compbench_is_half_place_half_objects_and_nothing_below_a_half() -> None:
    task = read_t2i_spatial(DATA / "t2i_compbench_spatial_val.txt")[1]
    assert task.text == "a girl on the top of a frog"
    person, frog = saw("person", TOP, 0.6), saw("frog", LEFT, 0.8)
    whole = t2i_spatial(task.record, GREY, [person, frog])
    assert whole.scores == pytest.approx({"our_t2i_spatial": 0.5 + 0.25 * 1.4, "our_t2i_position": 1.0})
    wrong = t2i_spatial(task.record, GREY, [saw("person", LEFT, 0.6), saw("frog", TOP, 0.8)])
    assert (wrong.scores["our_t2i_spatial"], wrong.why) == (0.0, "not on the top of")
    assert t2i_spatial(task.record, GREY, [frog]).why == "person not found"


def test_visor_compares_centroids_and_writes_what_its_own_script_reads() -> None:
    record = {
        "obj_1_attributes": ["kite"],
        "obj_2_attributes": ["bicycle"],
        "rel_type": "to the right of",
        "text": "a kite to the right of a bicycle",
    }
    good = [saw("kite", RIGHT), saw("bicycle", LEFT), saw("bicycle", TOP, 0.2)]
    assert visor(record, GREY, good).scores == {"our_oa": 1.0, "our_visor_uncond": 1.0}
    assert visor_result(record, good[:1]) == {
        "classes": ["kite"],
        "centroid": [[350.0, 250.0]],
        "recall": 1,
        "sra": 0,
        "text": "a kite to the right of a bicycle",
    }
    back = visor(record, GREY, [saw("kite", LEFT), saw("bicycle", RIGHT)])
    assert (back.scores, back.why) == ({"our_oa": 1.0, "our_visor_uncond": 0.0}, "not to the right of")


def test_laion_sg_scores_what_boxes_decide_and_nothing_else() -> None:
    task = Task("1", "cat left of dog", related("1", "cat left of dog", "cat", "left of", "dog"))
    verdict = laion_sg(task, GREY, [saw("cat", LEFT), saw("dog", RIGHT)])
    assert verdict.scores == {"our_sg_iou": 1, "our_entity_iou": 1, "our_relation_iou": 1, "our_satisfied": 1}
    chasing = Task("1", "cat chasing dog", related("1", "cat chasing dog", "cat", "chasing", "dog"))
    assert laion_sg(chasing, GREY, [saw("cat", LEFT)]).scores == {}
