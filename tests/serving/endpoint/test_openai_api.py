import base64
import io
import time
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving.endpoint.config import EndpointConfig
from serving.endpoint.openai_api import Ask, Endpoint, EndpointError, Reply, Usage
from tests.serving.endpoint.replay_server import Replay, completion, failure, replaying

IMAGE = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
KEY = "sk-secret-0815"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def endpoint_at(base_url: str, **fields: Any) -> Endpoint:
    limits = {"timeout_s": 5.0, "deadline_s": 20.0, "pause_s": 0.01}
    return Endpoint(EndpointConfig(**{"base_url": base_url, "model": "judge-1", **limits, **fields}))


def ask_all(endpoint: Endpoint, questions: list[str]) -> list[Reply | str]:
    """The reply to each question about one image, or the reason why there is none."""

    def job(question: str) -> Any:
        async def run(ask: Ask) -> Reply | str:
            try:
                return await ask(question, IMAGE)
            except EndpointError as error:
                return str(error)

        return run

    return endpoint.run([job(question) for question in questions])


def test_a_question_carries_model_image_and_text_and_its_tokens_are_counted() -> None:
    with replaying(lambda *_: completion("yes", (41, 2))) as server:
        endpoint = endpoint_at(server.base_url)
        assert ask_all(endpoint, ["is it so ?"]) == [Reply("yes", False)]
    (request,) = server.requests
    assert (request["model"], request["temperature"]) == ("judge-1", 0.0)
    picture, text = request["messages"][0]["content"]
    assert text == {"type": "text", "text": "is it so ?"}
    head, _, data = picture["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), IMAGE)
    assert endpoint.usage.seconds > 0
    endpoint.usage.seconds = 0.0
    assert endpoint.usage == Usage(requests=1, prompt_tokens=41, completion_tokens=2)


def test_the_key_is_sent_from_the_named_variable_and_from_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with replaying(lambda *_: completion("yes")) as server:
        ask_all(endpoint_at(server.base_url), ["a"])
        ask_all(endpoint_at(server.base_url, api_key_env="JUDGE_KEY"), ["b"])
        monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
        ask_all(endpoint_at(server.base_url, api_key_env=""), ["c"])
    assert [headers.get("authorization") for headers in server.headers] == [None, f"Bearer {KEY}", None]


def test_a_loopback_endpoint_is_asked_without_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with replaying(lambda *_: completion("yes")) as server:
        assert ask_all(endpoint_at(server.base_url), ["a"]) == [Reply("yes", False)]


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_asked_again(status: int) -> None:
    with replaying(lambda _, number: failure(status, "busy") if number < 2 else completion("no")) as server:
        endpoint = endpoint_at(server.base_url)
        assert ask_all(endpoint, ["a"]) == [Reply("no", False)]
    usage = endpoint.usage
    assert (usage.requests, usage.retries, usage.failures, usage.completion_tokens) == (3, 2, 0, 7)


@pytest.mark.parametrize(
    ("replay", "reason"),
    [
        (failure(400, "image is too large"), "400: image is too large"),
        (failure(401, f"Incorrect API key provided: {KEY}"), "401: see the environment variable JUDGE_KEY: the key"),
        (failure(403, "no"), "403: see the environment variable JUDGE_KEY"),
        (failure(404, "no such model"), "404: no such model (is there a model 'judge-1', and should the address end"),
        (failure(413, f"too long {KEY} {KEY}"), "413: too long … …"),
        (failure(429, "You exceeded your current quota", code="insufficient_quota"), "429: You exceeded"),
        (Replay(302, "", {"Location": "http://127.0.0.1:9/v1/chat/completions"}), "302"),
        (Replay(200, "<html>It works!</html>", {"Content-Type": "text/html"}), "something else than a chat completion"),
        (Replay(200, '{"choices": [', {"Content-Type": "application/json"}), "something else than a chat completion"),
        (Replay(200, '{"choices": []}', {"Content-Type": "application/json"}), "something else than a chat"),
        (Replay(200, "null", {"Content-Type": "application/json"}), "something else than a chat completion"),
        (completion(None, refusal="I cannot help with that."), "the model refused: I cannot help with that."),
        (completion(None, finish="content_filter"), "holds no text, finish_reason 'content_filter'"),
    ],
)
def test_what_does_not_pass_is_given_up_at_once_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, replay: Replay, reason: str
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with replaying(lambda *_: replay) as server:
        endpoint = endpoint_at(server.base_url, api_key_env="JUDGE_KEY")
        (answer,) = ask_all(endpoint, ["a"])
    assert reason in answer
    assert KEY not in answer
    assert (endpoint.usage.requests, endpoint.usage.retries, endpoint.usage.failures) == (1, 0, 1)


def test_retries_end_at_the_deadline() -> None:
    with replaying(lambda *_: failure(503, "overloaded")) as server:
        endpoint = endpoint_at(server.base_url, deadline_s=1.0, pause_s=0.1)
        began = time.monotonic()
        (answer,) = ask_all(endpoint, ["a"])
        assert time.monotonic() - began < 4.0
    assert answer == "503: overloaded; given up at the deadline of 1 s"
    usage = endpoint.usage
    assert usage.failures == 1
    assert 2 <= usage.requests == usage.retries + 1 <= 8  # pauses of about 0.1, 0.2, 0.4 s


@pytest.mark.parametrize(
    "header", ["0.4", formatdate(time.time() + 3600, usegmt=True), "soon"], ids=["seconds", "date", "neither"]
)
def test_the_pause_is_the_one_that_the_endpoint_asks_for(header: str) -> None:
    with replaying(lambda _, n: completion("yes") if n else failure(429, "slow", {"Retry-After": header})) as server:
        endpoint = endpoint_at(server.base_url)
        began = time.monotonic()
        (answer,) = ask_all(endpoint, ["a"])
        took = time.monotonic() - began
    if header.endswith("GMT"):  # an hour from now is beyond the deadline, so nothing is waited for
        assert answer == "429: slow; given up at the deadline of 20 s"
    else:
        assert answer == Reply("yes", False)
        assert took >= (0.4 if header == "0.4" else 0.0)


@pytest.mark.parametrize(
    "slow",
    [Replay(200, "{}", delay_s=30.0), Replay(200, " " * 300 + "{}", gap_s=0.1)],
    ids=["silence", "a byte at a time"],
)
def test_a_request_ends_at_its_timeout_and_is_repeated(slow: Replay) -> None:
    with replaying(lambda _, number: completion("yes") if number else slow) as server:
        endpoint = endpoint_at(server.base_url, timeout_s=2.0)
        began = time.monotonic()
        assert ask_all(endpoint, ["a"]) == [Reply("yes", False)]
        assert time.monotonic() - began < 10.0
    assert (endpoint.usage.requests, endpoint.usage.retries) == (2, 1)


def test_an_endpoint_that_is_gone_is_given_up_for_all_questions() -> None:
    with replaying(lambda *_: completion("yes")) as server:
        base_url = server.base_url
    endpoint = endpoint_at(base_url, deadline_s=0.5, pause_s=0.1, concurrency=2)
    answers = ask_all(endpoint, [str(k) for k in range(40)])
    assert all(isinstance(answer, str) for answer in answers)
    asked = [answer for answer in answers if "no connection to" in answer]
    assert 3 <= len(asked) <= 4
    assert sum("counts as gone, so it was not asked" in answer for answer in answers) == 40 - len(asked)
    assert endpoint.usage.failures == 40


def test_a_question_that_always_fails_does_not_stop_the_others() -> None:
    def answer(request: dict[str, Any], _: int) -> Replay:
        bad = request["messages"][0]["content"][1]["text"].startswith("bad")
        return failure(500, "crash") if bad else completion("yes")

    questions = [name for k in range(4) for name in (f"bad {k}", f"good {k}")]
    with replaying(answer) as server:
        endpoint = endpoint_at(server.base_url, deadline_s=0.6, pause_s=0.1, concurrency=1)
        answers = ask_all(endpoint, questions)
    assert answers[1::2] == [Reply("yes", False)] * 4
    assert answers[::2] == ["500: crash; given up at the deadline of 0.6 s"] * 4


def test_never_more_requests_at_once_than_allowed() -> None:
    replay = completion("yes")
    slow = Replay(replay.status, replay.body, replay.headers, delay_s=0.05)
    with replaying(lambda *_: slow) as server:
        assert len(ask_all(endpoint_at(server.base_url, concurrency=3), [str(k) for k in range(12)])) == 12
    assert server.most_at_once == 3
    assert sorted(server.texts(), key=int) == [str(k) for k in range(12)]


def test_answers_come_in_the_order_of_the_questions() -> None:
    def answer(request: dict[str, Any], _: int) -> Replay:
        text = request["messages"][0]["content"][1]["text"]
        replay = completion(text)
        return Replay(200, replay.body, replay.headers, delay_s=0.1 if text == "0" else 0.0)

    with replaying(answer) as server:
        assert [reply.text for reply in ask_all(endpoint_at(server.base_url), list("0123"))] == list("0123")


@pytest.mark.parametrize(
    ("refusal", "name"),
    [
        (failure(400, "Unsupported value: 0.0", param="temperature"), "temperature"),
        (failure(400, "max_completion_tokens=2048 cannot be greater than 160"), "max_completion_tokens"),
        (Replay(422, '{"detail": [{"loc": ["body", "max_completion_tokens"]}]}'), "max_completion_tokens"),
    ],
)
def test_an_option_that_the_endpoint_refuses_is_left_out(refusal: Replay, name: str) -> None:
    with replaying(lambda request, _: refusal if name in request else completion("yes")) as server:
        endpoint = endpoint_at(server.base_url)
        assert ask_all(endpoint, ["a"]) == [Reply("yes", False)]
        assert ask_all(endpoint, ["b"]) == [Reply("yes", False)]
    assert [name in request for request in server.requests] == [True, False, False]
    assert (endpoint.usage.requests, endpoint.usage.retries, endpoint.usage.failures) == (3, 1, 0)


def test_answers_in_parts_cut_off_or_without_token_count_are_read() -> None:
    recorded = [
        completion([{"type": "text", "text": "ye"}, {"type": "text", "text": "s"}]),
        completion("The red", finish="length"),
        completion(None, finish="length"),
        completion("no", tokens=None),
    ]
    with replaying(lambda _, number: recorded[number]) as server:
        endpoint = endpoint_at(server.base_url, concurrency=1)
        replies = ask_all(endpoint, list("abcd"))
    assert replies == [Reply("yes", False), Reply("The red", True), Reply("", True), Reply("no", False)]
    assert (endpoint.usage.prompt_tokens, endpoint.usage.without_token_count) == (300, 1)


def test_a_probe_shows_what_an_evaluation_would_run_into() -> None:
    with replaying(lambda *_: completion("yes")) as server:
        endpoint_at(server.base_url).probe()
        base_url = server.base_url
    with pytest.raises(EndpointError, match="no connection to") as caught:
        endpoint_at(base_url, timeout_s=0.3).probe()
    assert not caught.value.permanent
    with (
        replaying(lambda *_: failure(404, "no such model")) as server,
        pytest.raises(EndpointError, match="404") as caught,
    ):
        endpoint_at(server.base_url).probe()
    assert caught.value.permanent
