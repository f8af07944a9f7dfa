import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from scenes.scene_graph import Requirement
from serving.checker import Checker
from serving.own_checker import OwnChecker, new_checker

IMAGES = [np.full((64, 64, 3), value, np.uint8) for value in (51, 204)]
REQUIREMENTS = [
    (Requirement("a", "left of", "b"),),
    (Requirement("a", "left of", "b"), Requirement("b", "above", "c")),
]
VLM = SimpleNamespace(satisfaction=lambda images, wanted: [[0.25 for _ in row] for row in wanted], unanswered=3)


def test_a_function_of_the_users_judges_and_may_ask_the_vlm() -> None:
    def judge(images, requirements, ask):
        asked = ask(images[1:], requirements[1:])
        return [[images[0].mean() / 255], np.array(asked[0])]

    checker = OwnChecker("m:judge", judge, VLM)
    assert checker.satisfaction(IMAGES, REQUIREMENTS) == [[pytest.approx(0.2)], [0.25, 0.25]]
    assert checker.unanswered == 3
    assert checker.compute_seconds > 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([[0.5], [0.5]], r"rollout\.checker: m:f returned \[1, 1\] values for \[1, 2\] requirements; return one for"),
        ([[0.5]], r"returned \[1\] values for \[1, 2\] requirements"),
        ([[1.5], [0, 1]], r"rollout\.checker: m:f returned 1\.5; a probability is within \[0, 1\]"),
        ([[-0.1], [0, 1]], r"returned -0\.1"),
    ],
)
def test_what_is_no_probability_for_each_requirement_is_refused(given: list, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        OwnChecker("m:f", lambda *_: given, VLM).satisfaction(IMAGES, REQUIREMENTS)


def test_nan_says_that_an_image_could_not_be_judged() -> None:
    (row, _) = OwnChecker("m:f", lambda *_: [[float("nan")], [1, 0]], VLM).satisfaction(IMAGES, REQUIREMENTS)
    assert np.isnan(row[0])


def test_the_name_chooses_the_checker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checker_of_a_test.py").write_text("def judge(images, requirements, ask):\n    return []\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert type(new_checker("vlm", VLM)) is Checker
    own = new_checker("checker_of_a_test:judge", VLM)
    assert (type(own), own.name) == (OwnChecker, "checker_of_a_test:judge")
    assert own.satisfaction([], []) == []
