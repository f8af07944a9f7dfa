import numpy as np

from experiments.frontier.stand_ins import Asked, OracleActor, TemplateActor
from scenes.dialogue import actor_request, parse_answer
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES, PlacedObject, draw

GOAL = parse_prompt(
    "red circle left of blue square; green star above red circle; green star left of blue square", PREDICATES
)
LAYOUT = (
    PlacedObject("red", "circle", 50, 45, 7),
    PlacedObject("blue", "square", 30, 20, 7),
    PlacedObject("green", "star", 10, 10, 7),
)


def answers(actor: TemplateActor, temperature: float, seeds: list[int]) -> list[str]:
    request = actor_request(GOAL.requirements, GOAL.requirements[1:])
    image = draw(LAYOUT)
    found = actor.reflect([image] * len(seeds), [request] * len(seeds), temperature=temperature, seeds=seeds)
    assert all(parse_answer(one[0].text) == one[0].reflection for one in found)
    return [one[0].reflection.edit_prompt for one in found if one[0].reflection]


def test_a_request_is_read_back() -> None:
    asked = Asked.read(actor_request(GOAL.requirements, GOAL.requirements[1:]))
    assert asked.goal.requirements == GOAL.requirements
    assert asked.unmet.requirements == GOAL.requirements[1:]


def test_the_template_restates_the_first_unmet_requirement() -> None:
    assert answers(TemplateActor(), 0.0, [1, 2]) == ["move green star above red circle"] * 2


def test_asked_again_the_template_takes_any_unmet_one_from_either_side() -> None:
    assert set(answers(TemplateActor(), 1.0, list(range(40)))) == {
        "move green star above red circle",
        "move red circle below green star",
        "move green star left of blue square",
        "move blue square right of green star",
    }


def test_the_oracle_sees_what_is_truly_unmet_whatever_the_checker_says() -> None:
    (move,) = set(answers(OracleActor(), 0.0, [1, 2]))
    assert move in ("move red circle left of blue square", "move blue square right of red circle")


def test_the_oracle_does_as_the_template_where_an_object_cannot_be_read() -> None:
    request = actor_request(GOAL.requirements, GOAL.requirements[1:])
    (found,) = OracleActor().reflect([np.full((64, 64, 3), 245, np.uint8)], [request], temperature=0.0, seeds=[0])
    assert found[0].reflection is not None
    assert found[0].reflection.edit_prompt == "move green star above red circle"
