import json
from typing import Any

import numpy as np
import pytest

from measuring.image_scorer import Unscored
from measuring.vlm_judge import VlmJudge, checklist_request, read_checklist, read_yes_or_no
from scenes.json_answers import UnreadableAnswer
from scenes.scene_graph import Item, SceneGraph, parse_prompt
from scenes.shape_world import PREDICATES
from serving.endpoint.config import EndpointConfig
from serving.endpoint.openai_api import Endpoint
from tests.serving.endpoint.replay_server import Replay, completion, failure, replaying, text_of

GRAPH = parse_prompt("red circle left of blue square; green star above red circle", PREDICATES)
OTHER = parse_prompt("yellow star below purple star", PREDICATES)
IMAGE = np.zeros((8, 8, 3), np.uint8)


def judge_at(base_url: str, mode: Any = "per_requirement", tries: int = 3, **fields: Any) -> VlmJudge:
    limits = {"timeout_s": 5.0, "deadline_s": 20.0, "pause_s": 0.01, "api_key_env": ""}
    endpoint = Endpoint(EndpointConfig(**{"base_url": base_url, "model": "judge", **limits, **fields}))
    return VlmJudge(endpoint, mode, tries)


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("yes", True),
        ("no", False),
        ("Yes.", True),
        (" NO, it is to the right.\n", False),
        ("**Yes**, the red circle is left of it; no doubt.", True),
        ('"yes"', True),
        ("- no", False),
        ("<think>yes or no? yes.</think>\n\nNo", False),
    ],
)
def test_plain_answers_are_read(text: str, met: bool) -> None:
    assert read_yes_or_no(text) is met


@pytest.mark.parametrize(
    "text",
    [
        "",
        "maybe",
        "The answer is yes",
        "yes or no",
        "Yes/No",
        "yes no",
        "nothing",
        "yesterday",
        "not at all",
        "ja",
        "…",
    ],
)
def test_other_answers_are_neither_yes_nor_no(text: str) -> None:
    with pytest.raises(UnreadableAnswer, match="begin with either yes or no"):
        read_yes_or_no(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"1": "yes", "2": "no"}',
        '```json\n{"1": "Yes.", "2": " NO ",}\n```',
        "{'1': True, '2': False}",
        '{"answers": {"1": "yes", "2": "no"}}',
        '{"1": "yes or no", "2": "yes or no"}\n{"1": "yes", "2": "no", "3": "yes"}',
    ],
)
def test_checklists_are_read(text: str) -> None:
    assert read_checklist(text, 2) == [True, False]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("yes, no", "no JSON object"),
        ('{"1": "yes"}', "no answer to statement 2 of 2"),
        ('{"1": "yes", "2": "unsure"}', "the answer to statement 2 is neither yes nor no"),
        ('{"1": "yes", "2": null}', "the answer to statement 2 is neither"),
        ('{"1": 1, "2": 0}', "the answer to statement 1 is neither"),
        ('{"1": "yes", "2": "no"', "not closed"),
    ],
)
def test_unreadable_checklists_are_refused_with_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(UnreadableAnswer, match=problem):
        read_checklist(text, 2)


def test_each_requirement_is_asked_about_in_the_checker_s_words() -> None:
    def answer(request: dict[str, Any], _: int) -> Replay:
        return completion("yes" if "left of" in text_of(request) else "no", (20, 1))

    with replaying(answer) as server:
        judge = judge_at(server.base_url)
        assert judge.score([GRAPH, OTHER], [IMAGE, IMAGE]) == [0.5, 0.0]
    assert sorted(server.texts()) == [
        "is green star above red circle ?",
        "is red circle left of blue square ?",
        "is yellow star below purple star ?",
    ]
    report = judge.report()
    assert (report["mode"], report["model"], report["requests"]) == ("per_requirement", "judge", 3)
    assert (report["prompt_tokens"], report["completion_tokens"]) == (60, 3)


def test_a_checklist_asks_about_all_requirements_at_once() -> None:
    with replaying(lambda *_: completion(json.dumps({"1": "no", "2": "yes"}))) as server:
        judge = judge_at(server.base_url, "checklist")
        assert judge.score([GRAPH], [IMAGE]) == [0.5]
    (text,) = server.texts()
    assert "1. red circle left of blue square\n2. green star above red circle\n" in text
    assert text == checklist_request(GRAPH.requirements)
    assert judge.report()["mode"] == "checklist"


@pytest.mark.parametrize(
    ("mode", "recorded", "reminded"),
    [
        ("per_requirement", ["Hm.", "yes"], "Answer with the one word yes or the one word no."),
        ("checklist", ["yes", '{"1": "yes"}'], "Write nothing but one JSON object"),
    ],
)
def test_an_unreadable_answer_is_asked_for_again_with_a_reminder(mode: str, recorded: list[str], reminded: str) -> None:
    with replaying(lambda _, number: completion(recorded[number])) as server:
        judge = judge_at(server.base_url, mode)
        assert judge.score([OTHER], [IMAGE]) == [1.0]
    first, second = server.texts()
    assert second.startswith(first)
    assert reminded in second
    assert judge.report()["unreadable_answers"] == 1


@pytest.mark.parametrize("mode", ["per_requirement", "checklist"])
def test_an_image_with_a_requirement_without_an_answer_is_unscored(mode: str) -> None:
    def answer(request: dict[str, Any], _: int) -> Replay:
        return completion("Who knows?") if "above" in text_of(request) else completion("yes")

    with replaying(answer) as server:
        judge = judge_at(server.base_url, mode, tries=2)
        (result,) = judge.score([GRAPH], [IMAGE])
    assert isinstance(result, Unscored)
    assert result.reason.startswith("unreadable in 2 tries, at last: ")
    assert len(server.requests) == (3 if mode == "per_requirement" else 2)


def test_an_image_that_the_endpoint_fails_on_is_unscored_and_the_others_are_not() -> None:
    def answer(request: dict[str, Any], _: int) -> Replay:
        return failure(400, "bad image") if "above" in text_of(request) else completion("yes")

    with replaying(answer) as server:
        judge = judge_at(server.base_url)
        assert judge.score([GRAPH, OTHER], [IMAGE, IMAGE]) == [Unscored("400: bad image"), 1.0]
    assert judge.report()["failures"] == 1


def test_a_graph_without_relations_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="field 'relations' is empty"):
        judge_at("http://127.0.0.1:9/v1").score([SceneGraph("x", (Item(0, "cat"),), ())], [IMAGE])
