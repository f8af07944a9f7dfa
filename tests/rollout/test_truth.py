from __future__ import annotations

from dataclasses import replace

from rollout.trajectory import Turn
from rollout.truth import agreement
from scenes.png import Picture
from scenes.shape_world import PlacedObject, draw
from tests.rollout.test_trajectory import example

_OBJECTS = (PlacedObject("red", "circle", 16, 30, 7), PlacedObject("blue", "square", 46, 30, 7))


def _turn(requirements: list[str], satisfaction: list[float]) -> Turn:
    return example(image_after=Picture(draw(_OBJECTS)), requirements=requirements, satisfaction_after=satisfaction)


def test_agreement_measures_the_truth_beside_the_checker() -> None:
    asked = ["red circle left of blue square", "red circle above blue square"]
    found = agreement([_turn(asked, [0.9, 0.8])])
    assert found == {"truth_mean": 0.5, "checker_agreement": 0.5, "truth_by_prompt": {"4": [0.5, 1]}}
    assert agreement([_turn(asked, [0.9, 0.2])])["checker_agreement"] == 1.0


def test_an_unparsable_answer_counts_nothing_as_in_the_reward() -> None:
    turn = _turn(["red circle left of blue square"], [0.9])
    found = agreement([turn, replace(turn, image_after=None)])
    assert found == {"truth_mean": 0.5, "checker_agreement": 1.0, "truth_by_prompt": {"4": [1.0, 2]}}
    assert agreement([]) == {"truth_mean": None, "checker_agreement": None, "truth_by_prompt": {}}
