import json
import logging

import pytest

from studio.episodes.service import ServiceUnavailable, TurnTimeout
from tests.studio.asking import GENERATIONS, PROMPT, client, events_of, image_of
from tests.studio.scripted_service import ScriptedService


def test_a_stream_sends_each_image_and_then_each_end() -> None:
    answer = client().post(GENERATIONS, json={"prompt": PROMPT, "seed": 7, "n": 2, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert all(name == data["type"] for name, data in events)
    for item in range(2):
        *turns, end = [data for _, data in events if data["item"] == item]
        assert [turn["type"] for turn in turns] == ["image_generation.turn"] * 2
        assert [turn["index"] for turn in turns] == [0, 1]
        assert [turn["satisfaction"] for turn in turns] == [[0.9, 0.2], [0.9, 0.9]]
        assert [image_of(turn["b64_json"])[0, 0, 0] for turn in turns] == [7 + item, 8 + item]
        assert turns[1]["edit_prompt"] == "move it"
        assert turns[1]["requirements"][1] == "green star above red circle"
        assert end["type"] == "image_generation.completed"
        assert (image_of(end["b64_json"]) == 8 + item).all()
        assert end["rlrig"]["versions"] == {"actor": 3, "editor": 5}


def test_a_stream_with_nothing_to_tell_is_kept_open_by_comments() -> None:
    http = client(ScriptedService(turn_s=0.3), keep_alive_s=0.05)
    text = http.post(GENERATIONS, json={"prompt": PROMPT, "stream": True}).text
    assert text.count(": keep-alive\n\n") >= 4
    assert len(events_of(text)) == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "status", "code", "after"),
    [
        (ServiceUnavailable("the Diffuser starts anew", 2.6), 503, "service_unavailable", "3"),
        (TurnTimeout("turn 0 took longer than 60 s"), 504, "turn_timeout", None),
        (RuntimeError("secret in /root/key"), 500, "internal_error", None),
    ],
)
def test_what_fails_before_the_first_image_is_a_plain_error(failure, status, code, after, stream) -> None:
    service = ScriptedService(failure=failure)
    answer = client(service).post(GENERATIONS, json={"prompt": PROMPT, "n": 2, "stream": stream})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers.get("retry-after") == after
    assert "secret" not in answer.text
    assert service.under_way == 0


@pytest.mark.parametrize(
    ("failure", "code"), [(ServiceUnavailable("gone"), "service_unavailable"), (KeyError("secret"), "internal_error")]
)
def test_what_fails_later_ends_a_stream_with_an_error(failure: Exception, code: str) -> None:
    service = ScriptedService(failure=failure, fails_at=1)
    text = client(service).post(GENERATIONS, json={"prompt": PROMPT, "stream": True}).text
    turn, error = [event.splitlines() for event in text.strip().split("\n\n")]
    assert turn[0] == "event: image_generation.turn"
    assert error[0] == "event: error"
    assert json.loads(error[1].removeprefix("data: "))["error"]["code"] == code
    assert "secret" not in text
    assert service.under_way == 0


def test_the_log_names_the_place_of_a_failure_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="studio"):
        answer = client(ScriptedService(failure=ValueError("secret in /root/key"))).post(
            GENERATIONS, json={"prompt": PROMPT}
        )
    [record] = [record for record in caplog.records if record.name.startswith("studio")]
    assert record.exc_info is None
    id_ = answer.headers["x-request-id"]
    assert record.getMessage().startswith(f"request {id_}: ValueError at tests.studio.scripted_service:")
    assert id_ in answer.json()["error"]["message"]


def test_an_episode_without_an_end_does_not_last() -> None:
    http = client(ScriptedService(turn_s=60.0), turn_deadline_s=0.05)
    answer = http.post(GENERATIONS, json={"prompt": PROMPT, "turns": 0})
    assert answer.status_code == 504
    assert "had not ended after 0.1 s" in answer.json()["error"]["message"]
