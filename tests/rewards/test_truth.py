from __future__ import annotations

from dataclasses import replace

from presets.truth.source import TruthSource
from rewards.part import Part
from rewards.truth import agreement, truth_of_update
from rollout.trajectory import Turn
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


def test_a_scorer_with_weight_0_is_the_truth_and_what_it_cannot_say_is_counted_and_left_out() -> None:
    source = TruthSource("detector", "owl")

    def said(*values: tuple[str, float], **changes: object) -> Turn:
        return replace(_turn([], []), reward_parts=[Part(name, value, value) for name, value in values], **changes)

    turns = [
        said(("checker", 1.0), ("owl", 0.25)),
        said(("checker", 1.0), ("owl", float("nan"))),
        said(("owl", 0.5), prompt=7),
        replace(_turn([], []), image_after=None, reward_parts=None),
        replace(_turn([], []), reward_parts=None),
    ]
    found = truth_of_update(turns, source)
    assert found == {
        "truth_mean": 0.25,
        "truth_by_prompt": {"4": [0.25, 2], "7": [0.5, 1]},
        "truth_by": "detector",
        "truth_scorer": "owl",
        "truth_missing": 2,
    }
    assert truth_of_update(turns[1:2], source)["truth_mean"] is None
    assert truth_of_update(turns, None) == {}
    asked = _turn(["red circle left of blue square"], [0.9])
    assert truth_of_update([asked], TruthSource("exact")) == agreement([asked])
