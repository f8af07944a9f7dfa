import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from measuring.image_scorer import Unscored
from measuring.vlm_extraction import VlmExtractor
from scenes.kinds.kinds import Count, FreeQuestion
from scenes.scene_graph import SceneGraph, parse_prompt
from scenes.scene_graph_iou import SceneScores
from scenes.shape_world import PREDICATES
from serving.endpoint.config import EndpointConfig
from serving.endpoint.openai_api import Endpoint
from tests.serving.endpoint.replay_server import Replay, completion, failure, replaying, text_of

GRAPH = parse_prompt("red circle left of blue square; green star above red circle", PREDICATES)
OTHER = parse_prompt("yellow star below purple star", PREDICATES)
IMAGE = np.zeros((8, 8, 3), np.uint8)
PERFECT = SceneScores(1.0, 1.0, 1.0, 1.0)


def answer_for(graph: SceneGraph) -> str:
    """The answer of an extractor that finds all that was asked for."""
    triples = [dict(zip(("item1", "relation", "item2"), r.triple, strict=True)) for r in graph.requirements]
    relations = [requirement.predicate for requirement in graph.requirements]
    return json.dumps({"items": list(graph.names), "relations": relations, "triples": triples})


def extractor_at(base_url: str, tries: int = 3, **fields: Any) -> VlmExtractor:
    limits = {"timeout_s": 5.0, "deadline_s": 20.0, "pause_s": 0.01, "api_key_env": ""}
    return VlmExtractor(Endpoint(EndpointConfig(**{"base_url": base_url, "model": "eye", **limits, **fields})), tries)


def test_images_are_scored_by_what_the_model_sees_in_them() -> None:
    half = (
        '```json\n{"items": ["Red circle", "blue_square"], "triples": [["red circle", "LEFT OF", "blue square"],]}```'
    )

    def answer(request: dict[str, Any], _: int) -> Replay:
        return completion(answer_for(OTHER) if "purple" in text_of(request) else half, (200, 50))

    with replaying(answer) as server:
        extractor = extractor_at(server.base_url)
        scores = extractor.score([GRAPH, OTHER], [IMAGE, IMAGE])
    assert scores[0] == SceneScores(1 / 2, 2 / 3, 1 / 2, 1 / 2)
    assert scores[1] == PERFECT
    report = extractor.report()
    assert report.pop("seconds") > 0
    assert report == {
        "extractor": "openai",
        "model": "eye",
        "base_url": server.base_url,
        "requests": 2,
        "retries": 0,
        "failures": 0,
        "prompt_tokens": 400,
        "completion_tokens": 100,
        "without_token_count": 0,
        "unreadable_answers": 0,
    }


def test_an_unreadable_answer_is_asked_for_again_with_a_reminder() -> None:
    recorded = ["I see a red circle.", '{"items": ["red circle"]}', answer_for(GRAPH)]
    with replaying(lambda _, number: completion(recorded[number])) as server:
        extractor = extractor_at(server.base_url)
        assert extractor.score([GRAPH], [IMAGE]) == [PERFECT]
    first, second, third = server.texts()
    assert second.startswith(first)
    assert "could not be used: there is no JSON object in the answer." in second
    assert "could not be used: the key 'triples' is missing" in third
    assert "no JSON object" not in third
    assert extractor.report()["unreadable_answers"] == 2
    assert extractor.report()["requests"] == 3


def test_an_answer_that_stays_unreadable_leaves_the_image_unscored() -> None:
    def answer(request: dict[str, Any], _: int) -> Replay:
        return completion(answer_for(OTHER) if "purple" in text_of(request) else "What a picture!")

    with replaying(answer) as server:
        extractor = extractor_at(server.base_url, tries=2)
        results = extractor.score([GRAPH, OTHER, GRAPH], [IMAGE] * 3)
    reason = "unreadable in 2 tries, at last: there is no JSON object in the answer"
    assert results == [Unscored(reason), PERFECT, Unscored(reason)]
    assert extractor.report()["unreadable_answers"] == 4
    assert len(server.requests) == 5


def test_a_cut_off_answer_is_called_so() -> None:
    with replaying(lambda *_: completion(answer_for(GRAPH)[:-1], finish="length")) as server:
        (result,) = extractor_at(server.base_url, tries=2).score([GRAPH], [IMAGE])
    assert result == Unscored("unreadable in 2 tries, at last: the JSON object is not closed (it was cut off)")


@pytest.mark.parametrize(
    ("replay", "reason"),
    [
        (failure(400, "image is too small"), "400: image is too small"),
        (failure(503, "overloaded"), "503: overloaded; given up at the deadline of 1 s"),
        (Replay(200, "{}", delay_s=20.0), "no answer within 0.5 s; given up at the deadline of 1 s"),
        (Replay(200, "<html>", {"Content-Type": "text/html"}), "something else than a chat completion"),
    ],
)
def test_an_image_without_an_answer_is_unscored_and_not_asked_about_again(replay: Replay, reason: str) -> None:
    def answer(request: dict[str, Any], _: int) -> Replay:
        return completion(answer_for(OTHER)) if "purple" in text_of(request) else replay

    with replaying(answer) as server:
        extractor = extractor_at(server.base_url, timeout_s=0.5, deadline_s=1.0, pause_s=0.2)
        failed, scored = extractor.score([GRAPH, OTHER], [IMAGE, IMAGE])
    assert isinstance(failed, Unscored)
    assert reason in failed.reason
    assert scored == PERFECT
    assert extractor.report()["failures"] == 1
    assert extractor.report()["unreadable_answers"] == 0


def test_what_passes_costs_a_retry_and_no_score() -> None:
    with replaying(lambda _, n: completion(answer_for(GRAPH)) if n else failure(429, "slow down")) as server:
        extractor = extractor_at(server.base_url)
        assert extractor.score([GRAPH], [IMAGE]) == [PERFECT]
    report = extractor.report()
    assert (report["requests"], report["retries"], report["failures"]) == (2, 1, 0)


def test_counts_add_up_over_calls_and_nothing_is_asked_about_nothing() -> None:
    with replaying(lambda *_: completion(answer_for(GRAPH))) as server:
        extractor = extractor_at(server.base_url)
        assert extractor.score([], []) == []
        extractor.score([GRAPH], [IMAGE])
        extractor.score([GRAPH], [IMAGE])
    assert extractor.report()["requests"] == 2


def test_as_many_graphs_as_images_are_needed() -> None:
    with pytest.raises(ValueError, match="zip"):
        extractor_at("http://127.0.0.1:9/v1").score([GRAPH], [])


def test_other_requirements_are_asked_by_a_checklist_beside_the_protocol() -> None:
    asked: list[str] = []

    def answer(request: dict[str, Any], _: int) -> Replay:
        asked.append(text_of(request))
        return completion('{"1": "yes", "2": "no"}' if "statements" in asked[-1] else answer_for(GRAPH), (1, 1))

    others = (Count("star", 1), FreeQuestion("Is it day?"))
    with replaying(answer) as server:
        scores = extractor_at(server.base_url).score(
            [replace(GRAPH, others=others), SceneGraph("1", (), (), others)], [IMAGE, IMAGE]
        )
    assert scores[0] == SceneScores(1.0, 1.0, 1.0, 3 / 4, {"relation": 1.0, "count": 1.0, "question": 0.0})
    assert isinstance(scores[1], SceneScores)
    assert (scores[1].satisfied, scores[1].by_kind) == (0.5, {"count": 1.0, "question": 0.0})
    assert len(asked) == 3
    (checklist,) = {text for text in asked if "statements" in text}
    assert '1. the picture shows exactly one star\n2. the answer to "Is it day?" is yes\n' in checklist
