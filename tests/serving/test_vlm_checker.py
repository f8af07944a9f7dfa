"""The Checker with all real engines."""

from math import exp

import pytest

from scenes.dialogue import checker_question
from scenes.scene_graph import Requirement
from serving.vlm_checker import Checker

pytestmark = pytest.mark.engines


def test_satisfaction_is_the_yes_share_of_transformers(vlms, references, images):
    asked = [Requirement(a, "left of", b) for a in ("red circle", "green star") for b in ("blue square", "red star")]
    wanted = [tuple(asked), tuple(asked[:1]), (), tuple(asked[1:])]
    checker = Checker(vlms["checker"])
    satisfied = checker.satisfaction(images, wanted)
    reference = references["checker"]
    yes, no = reference.processor.tokenizer.convert_tokens_to_ids(["yes", "no"])
    unanswered = 0
    for image, requirements, row in zip(images, wanted, satisfied, strict=True):
        assert len(row) == len(requirements)
        for requirement, probability in zip(requirements, row, strict=True):
            log_probs = reference.log_probs(image, checker_question(requirement), [yes])[0]
            expected = exp(log_probs[yes]) / (exp(log_probs[yes]) + exp(log_probs[no]))
            if log_probs.argmax() not in (yes, no):
                unanswered += 1
                expected = 0.0
            assert probability == pytest.approx(expected, abs=1e-3)
    assert checker.unanswered == unanswered
    assert any(probability > 0 for row in satisfied for probability in row)


def test_each_image_needs_its_list_of_requirements(vlms, images):
    with pytest.raises(ValueError, match="4 images and 0 lists of requirements"):
        Checker(vlms["checker"]).satisfaction(images, [])


def test_nothing_asked_is_nothing_answered(vlms, images):
    assert Checker(vlms["checker"]).satisfaction(images[:2], [(), ()]) == [[], []]
