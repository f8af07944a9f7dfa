import base64
import io

import numpy as np
import pytest
from PIL import Image

from rewards.scorers.vlm_judge import VlmJudge, read_score
from rewards.values import ScorerFailed
from serving.endpoint.config import EndpointConfig
from tests.rewards.turns import SCENE, picture, turn
from tests.serving.endpoint.replay_server import Replay, completion, failure, replaying


def judge(url: str, **options) -> VlmJudge:
    endpoint = EndpointConfig(base_url=url, model="judge", deadline_s=2, pause_s=0.01, api_key_env="")
    return VlmJudge(endpoint, **options)


def test_it_sees_both_images_the_instruction_and_the_rubric() -> None:
    with replaying(lambda *_: completion("It moved.\nscore: 7")) as server:
        assert judge(server.base_url, rubric="Mind the shadows.")([turn(image=picture(9))]) == [0.7]
    first, second, text = server.requests[0]["messages"][0]["content"]
    images = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2]))))
        for part in (first, second)
    ]
    assert np.array_equal(images[0], SCENE.image)
    assert np.array_equal(images[1], picture(9))
    for words in ("Mind the shadows.", turn().edit_prompt, SCENE.graph.requirements[0].text, "from 0 (worst) to 10"):
        assert words in text["text"]


def test_an_answer_without_a_score_is_asked_for_again_and_then_has_no_value() -> None:
    def answer(request: dict, number: int) -> Replay:
        again = "An earlier answer" in request["messages"][0]["content"][-1]["text"]
        return completion("score: 3" if again else "Quite good.")

    with replaying(answer) as server:
        assert judge(server.base_url)([turn()]) == [0.3]
    with replaying(lambda *_: completion("Quite good.")) as server:
        assert np.isnan(judge(server.base_url, tries=3)([turn()])[0])
    assert len(server.requests) == 3


def test_a_question_that_fails_costs_its_own_sample_and_an_endpoint_that_is_down_all() -> None:
    def answer(request: dict, _: int) -> Replay:
        asked = request["messages"][0]["content"][-1]["text"]
        return failure(400, "no") if "paint" in asked else completion("score: 10")

    with replaying(answer) as server:
        found = judge(server.base_url)([turn(edit_prompt="paint it"), turn()])
    assert np.isnan(found[0])
    assert found[1] == 1.0
    with replaying(lambda *_: failure(400, "no")) as server, pytest.raises(ScorerFailed, match="400: no"):
        judge(server.base_url)([turn(), turn()])


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("score: 8", 8.0),
        ("**Score:** 6.5", 6.5),
        ("first score: 2, but then\nscore: 4", 4.0),
        ("score: 12", None),
        ("score: -1", None),
        ("<think>score: 1</think>score: 9", 9.0),
        ("8", None),
        ("score: high", None),
    ],
)
def test_the_last_score_of_an_answer_counts(text: str, score: float | None) -> None:
    assert read_score(text, 10) == score


def test_an_endpoint_that_was_gone_is_asked_again_in_the_next_batch() -> None:
    down = True
    with replaying(lambda *_: failure(503, "busy") if down else completion("score: 5")) as server:
        endpoint = EndpointConfig(base_url=server.base_url, model="judge", deadline_s=0.2, pause_s=0.1, concurrency=1)
        scorer = VlmJudge(endpoint)
        with pytest.raises(ScorerFailed, match="503"):
            scorer([turn() for _ in range(5)])
        down = False
        assert scorer([turn()]) == [0.5]
