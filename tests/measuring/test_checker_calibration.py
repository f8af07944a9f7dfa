"""Accuracy and calibration of a Checker on labelled pictures."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from measuring.checker_calibration import LABELS, calibrate, drawn, measured, read_labelled
from presets.errors import BadInput
from scenes.calibration import bins_of, expected_calibration_error

GOOD = {"image": "a.png", "subject": "cat", "relation": "left of", "object": "dog", "holds": True}


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_bins_hold_every_case_and_the_error_is_a_share(cases):
    probability, truth = np.array([p for p, _ in cases]), np.array([t for _, t in cases])
    found = list(bins_of(probability, truth))
    assert sum(one.count for one in found) == len(cases)
    assert all(one.low - 1e-9 <= one.mean <= one.high + 1e-9 for one in found)
    assert 0 <= expected_calibration_error(probability, truth) <= 1 + 1e-9


def test_numbers_of_a_small_example():
    found = measured(np.array([0.95, 0.95, 0.05, 0.65]), np.array([True, False, False, False]), unanswered=1)
    assert (found.questions, found.yes, found.accuracy, found.unanswered) == (4, 0.25, 0.5, 1)
    assert found.balanced == pytest.approx((1 / 3 + 1) / 2)
    assert found.error == pytest.approx(0.5 * 0.45 + 0.25 * 0.05 + 0.25 * 0.65)
    assert found.brier == pytest.approx((0.05**2 + 0.95**2 + 0.05**2 + 0.65**2) / 4)
    assert [(one.low, one.count, one.frequency) for one in found.bins] == [(0.0, 1, 0.0), (0.6, 1, 0.0), (0.9, 2, 0.5)]


def test_a_checker_is_asked_every_question_of_drawn_scenes():
    asked = drawn(30)
    assert 0.3 < np.mean([one.holds for one in asked]) < 0.7
    answers = iter([float(one.holds) for one in asked])
    sizes = []

    def satisfaction(images, requirements):
        sizes.append(len(images))
        return [[next(answers) for _ in wanted] for wanted in requirements]

    found = calibrate(SimpleNamespace(unanswered=0, satisfaction=satisfaction), asked)
    assert (found.questions, found.accuracy, found.error) == (len(asked), 1.0, 0.0)
    assert sum(sizes) == 30  # a picture is sent once for all questions about it
    assert max(sizes) <= 16


def test_a_folder_of_labelled_pictures_is_read_leniently(tmp_path):
    Image.new("RGB", (8, 6), (255, 0, 0)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows = [
        GOOD,
        {**GOOD, "holds": False, "object": "tree"},
        {**GOOD, "holds": "yes"},
        {**GOOD, "image": "../a.png"},
        {**GOOD, "image": "gone.png"},
        {**GOOD, "image": "a\u0000b"},
        {**GOOD, "image": "x" * 300},
        {**GOOD, "image": "broken.png"},
        [],
    ]
    (tmp_path / LABELS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, skipped = read_labelled(tmp_path)
    assert [(one.requirement.text, one.holds) for one in found] == [
        ("cat left of dog", True),
        ("cat left of tree", False),
    ]
    assert found[0].image.shape == (6, 8, 3)
    assert skipped == {
        "holds is missing or of another type": 1,
        "the folder holds no such image": 2,
        "an image cannot be read": 3,
        "not an object": 1,
    }


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"holds no labels\.jsonl; write a line for each question"):
        read_labelled(tmp_path)
    (tmp_path / LABELS).write_text(json.dumps({**GOOD, "image": "gone.png"}))
    with pytest.raises(BadInput, match=r"no line of .* can be used: .*no such image': 1"):
        read_labelled(tmp_path)
    (tmp_path / LABELS).write_text("{")
    with pytest.raises(BadInput, match="--pictures: "):
        read_labelled(tmp_path)
