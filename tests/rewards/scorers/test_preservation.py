import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rewards.scorers.preservation import Preservation, first_named, least_changed, masked_closeness, outside
from scenes.shape_world import PlacedObject, draw
from tests.rewards.turns import picture, turn

STAR, CIRCLE = PlacedObject("red", "star", 14, 14, 7), PlacedObject("blue", "circle", 46, 20, 7)
BEFORE = draw((STAR, CIRCLE))
MOVED = draw((replace(STAR, y=48), CIRCLE))
BOTH_MOVED = draw((replace(STAR, y=48), replace(CIRCLE, x=24, y=44)))
REDRAWN = np.clip(MOVED + np.random.default_rng(0).normal(0, 25, MOVED.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("measure", ["ssim", "distance"])
def test_moving_one_object_is_free_and_more_than_that_is_not(measure: str) -> None:
    turns = [turn(source=BEFORE, image=image) for image in (BEFORE.copy(), MOVED, BOTH_MOVED, REDRAWN)]
    same, moved, both, redrawn = Preservation(measure=measure, share=0.15)(turns)
    assert same == pytest.approx(1.0, abs=1e-5)
    assert moved == pytest.approx(1.0, abs=1e-3)
    assert both < moved - 0.01
    assert redrawn < both


def test_boxes_cut_out_the_object_that_the_edit_prompt_names_first(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "boxes_of_a_test.py").write_text(
        "from scenes.extractors import extract\n\n"
        "def find(image, name):\n"
        "    o = extract(image).find(name)\n"
        "    r = 0 if o is None else 1.5 * o.radius\n"
        "    return [] if o is None else [(o.x - r, o.y - r, o.x + r, o.y + r)]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "boxes_of_a_test", raising=False)
    scorer = Preservation(boxes="boxes_of_a_test:find", share=0.0)
    graph = turn().graph
    named = zip(graph.items, [("red", "star"), ("blue", "circle"), ("green", "square")], strict=False)
    items = tuple(replace(item, label=shape, attributes=(colour,)) for item, (colour, shape) in named)
    scene = replace(graph, items=items)
    told = "move red star below blue circle"
    values = scorer([turn(graph=scene, source=BEFORE, image=one, edit_prompt=told) for one in (MOVED, BOTH_MOVED)])
    assert values[0] > 0.98 > values[1]
    (other,) = scorer([turn(graph=scene, source=BEFORE, image=MOVED, edit_prompt="move blue circle up")])
    assert other < 0.95  # the star was not asked to move


def test_images_of_different_sizes_have_no_value_and_a_start_has_one() -> None:
    found = Preservation()([turn(image=picture(9, 32)), turn(still=True)])
    assert np.isnan(found[0])
    assert found[1] == 1.0


def test_the_mask_leaves_out_the_share_that_changed_most() -> None:
    after = BEFORE.copy()
    after[:16] = 0  # a quarter
    kept = least_changed(BEFORE, after, 0.3)
    assert not kept[:14].any()
    assert kept[24:].all()
    assert least_changed(BEFORE, BEFORE, 0.3).all()
    assert 0.6 < least_changed(BEFORE, REDRAWN, 0.3).mean() < 0.8


def test_boxes_are_larger_by_a_tenth_and_stay_within_the_image() -> None:
    kept = outside([(10, 20, 20, 30)], (64, 64))
    assert np.argwhere(~kept).min(axis=0).tolist() == [19, 9]
    assert np.argwhere(~kept).max(axis=0).tolist() == [30, 20]
    assert outside([(-20, -20, -5, -5)], (64, 64)).all()


def test_closeness_and_names() -> None:
    mask = np.ones((64, 64), bool)
    assert masked_closeness(picture(10), picture(26), mask) == pytest.approx(0.75)
    assert masked_closeness(picture(10), picture(200), mask) == 0.0
    assert first_named("Move the red star near the red star 2", ["red star", "red star 2", "cat"]) == "red star"
    assert first_named("paint it", ["cat"]) is None


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="measure: 'psnr' is refused"):
        Preservation(measure="psnr")
    with pytest.raises(ValueError, match="share: 1 is refused"):
        Preservation(share=1)
