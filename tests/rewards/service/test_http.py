import base64
import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from presets.scoring.places import HttpConfig
from rewards.service.http import HttpScorer
from rewards.values import ScorerFailed
from tests.rewards.turns import SCENE, picture, turn
from tests.serving.endpoint.replay_server import Replay, ReplayServer, replaying


def answering(*values: float | None) -> Replay:
    return Replay(body=json.dumps({"values": list(values)}))


def scorer(server: ReplayServer, deadline_s: float = 3.0, **settings) -> HttpScorer:
    return HttpScorer("outside", HttpConfig(url=f"{server.base_url}/score", **settings), deadline_s, {"strict": True})


def test_a_request_says_all_of_a_turn_and_each_image_once() -> None:
    nan = float("nan")
    turns = [turn(image=picture(9), satisfaction_after=[0.5, nan], group=3), turn(still=True)]
    with replaying(lambda *_: answering(0.5, 1)) as server:
        assert scorer(server)(turns) == [0.5, 1.0]
    (sent,) = server.requests
    assert {key: sent[key] for key in ("version", "scorer", "options")} == {
        "version": 1,
        "scorer": "outside",
        "options": {"strict": True},
    }
    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(image, validate=True)))) for image in sent["images"]]
    assert len(images) == 2
    first, second = sent["turns"]
    assert np.array_equal(images[first["source"]], SCENE.image)
    assert np.array_equal(images[first["image"]], picture(9))
    assert (first["group"], first["satisfaction_after"], first["still"]) == (3, [0.5, None], False)
    assert first["requirements"] == [requirement.text for requirement in SCENE.graph.requirements]
    assert first["scene_graph"] == json.loads(json.dumps(SCENE.graph.record()))
    assert (second["source"], second["image"], second["still"]) == (0, 0, True)
    assert set(first) == {
        "group", "stage", "scene_graph", "requirements", "source", "image", "reflection", "edit_prompt", "answer",
        "tokens", "satisfaction_before", "satisfaction_after", "still",
    }  # fmt: skip


def test_turns_go_in_batches_at_the_same_time_and_come_back_in_their_order() -> None:
    def answer(request: dict, _: int) -> Replay:
        first = [float(one["tokens"]) for one in request["turns"]]
        return Replay(body=json.dumps({"values": first}), delay_s=0.3)

    with replaying(answer) as server:
        found = scorer(server, batch=2, concurrency=3)([turn(tokens=k) for k in range(7)])
    assert found == [float(k) for k in range(7)]
    assert sorted(len(request["turns"]) for request in server.requests) == [1, 2, 2, 2]
    assert server.most_at_once == 3


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_what_may_pass_is_asked_again(status: int) -> None:
    with replaying(lambda _, number: Replay(status) if number < 1 else answering(0.25)) as server:
        assert scorer(server)([turn()]) == [0.25]
    assert len(server.requests) == 2


def test_a_service_that_stays_away_is_given_up_at_the_deadline() -> None:
    with replaying(lambda *_: answering(1.0)) as server:
        pass
    began = time.monotonic()
    with pytest.raises(ScorerFailed, match="given up at the deadline of 1 s"):
        scorer(server, deadline_s=1.0)([turn()])
    assert time.monotonic() - began < 2.5


@pytest.mark.parametrize(
    ("replay", "says"),
    [
        (Replay(404), "answered 404"),
        (Replay(302, headers={"Location": "http://127.0.0.1:9/"}), "answered 302"),
        (Replay(body="<html>"), "something else than JSON"),
        (Replay(body='{"scores": [1]}'), "without a list of values"),
        (Replay(body='{"values": [1, 2]}'), "returned 2 values for 1 turns"),
        (Replay(body=" " * (5 << 20)), "more than 4194304 bytes"),
    ],
)
def test_an_answer_that_cannot_be_used_is_not_asked_for_again(replay: Replay, says: str) -> None:
    with replaying(lambda *_: replay) as server, pytest.raises(ScorerFailed, match=says):
        scorer(server)([turn()])
    assert len(server.requests) == 1


def test_nonsense_and_a_failed_request_cost_their_own_turns_alone(caplog: pytest.LogCaptureFixture) -> None:
    def answer(request: dict, _: int) -> Replay:
        tokens = request["turns"][0]["tokens"]
        return {0: answering(None), 1: Replay(body='{"values": ["0.5"]}'), 2: Replay(404), 3: answering(0.5)}[tokens]

    with replaying(answer) as server:
        found = scorer(server, batch=1)([turn(tokens=k) for k in range(4)])
    assert np.isnan(found[:3]).all()
    assert found[3] == 0.5
    assert "scorer outside: a request failed" in caplog.text


def test_the_token_of_the_named_variable_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORER_TOKEN", "abc")
    with replaying(lambda *_: answering(1.0)) as server:
        scorer(server)([turn()])
        scorer(server, token_env="SCORER_TOKEN")([turn()])
    assert [headers.get("authorization") for headers in server.headers] == [None, "Bearer abc"]
