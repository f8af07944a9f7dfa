"""The official `openai` client over a real server."""

import asyncio
import base64
from collections.abc import Iterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from scenes.png import decode_png, encode_png
from studio.api.app import make_app
from studio.config import GatewayConfig
from studio.episodes.service import ServiceUnavailable
from tests.studio.loopback import served, wait_for
from tests.studio.scripted_service import ScriptedService, picture

PROMPT = "red circle left of blue square; green star above red circle"
TOKEN = "a-token-of-enough-characters"
OPTIONS = {"model": "rlrig", "prompt": PROMPT}


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
def url(service: ScriptedService) -> Iterator[str]:
    with served(make_app(service, GatewayConfig(max_requests_per_client=2), token=TOKEN)) as base:
        yield f"{base}/v1"


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key=TOKEN, max_retries=0, timeout=20) as client:
        yield client


def grey(b64: str) -> int:
    return int(decode_png(base64.b64decode(b64)).mean())


def test_generate(client: OpenAI) -> None:
    answer = client.images.generate(**OPTIONS, n=2, response_format="b64_json", extra_body={"seed": 7, "turns": 1})
    assert [grey(image.b64_json) for image in answer.data] == [8, 9]
    assert answer.size == "64x64"
    trace = answer.data[1].rlrig
    assert trace["seed"] == 8
    assert trace["turns"][1]["edit_prompt"] == "move it"
    assert trace["versions"] == {"actor": 3, "editor": 5}


def test_generate_a_url(client: OpenAI) -> None:
    answer = client.images.generate(**OPTIONS, response_format="url", extra_body={"seed": 7})
    assert answer.data[0].b64_json is None
    assert grey(answer.data[0].url.removeprefix("data:image/png;base64,")) == 8


def test_edit(client: OpenAI) -> None:
    answer = client.images.edit(
        **OPTIONS, image=("photo.png", encode_png(picture(50))), n=2, extra_body={"seed": 4, "trace_images": True}
    )
    assert [grey(image.b64_json) for image in answer.data] == [51, 51]
    assert grey(answer.data[0].rlrig["turns"][0]["b64_json"]) == 50


def test_stream(client: OpenAI) -> None:
    events = list(client.images.generate(**OPTIONS, stream=True, extra_body={"seed": 7}))
    assert [event.type for event in events] == ["image_generation.turn"] * 2 + ["image_generation.completed"]
    assert [event.index for event in events[:2]] == [0, 1]
    assert [grey(event.b64_json) for event in events] == [7, 8, 8]
    assert events[1].satisfaction == [0.9, 0.9]
    assert events[2].rlrig["satisfied"] is True


def test_stream_of_an_edit(client: OpenAI) -> None:
    with client.images.edit(**OPTIONS, image=encode_png(picture(50)), stream=True) as stream:
        events = list(stream)
    assert [event.type for event in events] == ["image_edit.turn"] * 2 + ["image_edit.completed"]


def test_a_failing_stream_raises(client: OpenAI, service: ScriptedService) -> None:
    service.failure, service.fails_at = ServiceUnavailable("the editor starts anew"), 1
    stream = client.images.generate(**OPTIONS, stream=True)
    assert next(stream).type == "image_generation.turn"
    with pytest.raises(openai.APIError, match="the editor starts anew"):
        next(stream)


def test_errors_are_those_of_the_client(client: OpenAI, service: ScriptedService, url: str) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.images.generate(**OPTIONS, n=99)
    assert (bad.value.param, bad.value.type) == ("n", "invalid_request_error")
    with pytest.raises(openai.UnprocessableEntityError) as unread:
        client.images.generate(prompt="something nice")
    assert unread.value.code == "prompt_not_understood"
    assert unread.value.body["not_understood"][0]["text"] == "something nice"
    with pytest.raises(openai.NotFoundError):
        client.images.generate(prompt=PROMPT, model="dall-e-3")
    with pytest.raises(openai.AuthenticationError):
        OpenAI(base_url=url, api_key="wrong", max_retries=0).images.generate(**OPTIONS)
    service.failure = ServiceUnavailable("the Diffuser starts anew", 7.0)
    with pytest.raises(openai.InternalServerError) as failed:
        client.images.generate(**OPTIONS)
    assert failed.value.status_code == 503
    assert failed.value.response.headers["retry-after"] == "7"
    assert failed.value.request_id


def test_a_clean_503_is_asked_again_by_the_client(url: str, service: ScriptedService) -> None:
    service.failure = ServiceUnavailable("the Diffuser starts anew", 1.0)
    patient = OpenAI(base_url=url, api_key=TOKEN, max_retries=5, timeout=20)

    async def ask() -> list:
        asked = asyncio.to_thread(patient.images.generate, **OPTIONS)
        answering = asyncio.create_task(asked)
        await asyncio.to_thread(wait_for, lambda: service.asked, "the first try")
        service.failure = None
        return (await answering).data

    assert len(asyncio.run(ask())) == 1
    assert len(service.asked) >= 2


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["rlrig", "rlrig-raw"]
    assert client.models.retrieve("rlrig").versions == {"actor": 3, "editor": 5}


def test_many_at_once(url: str) -> None:
    async def ask() -> tuple[list[int], list[str]]:
        async with AsyncOpenAI(base_url=url, api_key=TOKEN, max_retries=0, timeout=20) as client:
            one = await client.images.generate(**OPTIONS, extra_body={"seed": 1})
            two = await client.images.edit(**OPTIONS, image=encode_png(picture(9)), extra_body={"seed": 2})
            kinds = [event.type async for event in await client.images.generate(**OPTIONS, stream=True)]
            return [grey(answer.data[0].b64_json) for answer in (one, two)], kinds

    assert asyncio.run(ask()) == ([2, 10], ["image_generation.turn"] * 2 + ["image_generation.completed"])


def test_one_client_has_so_many_requests_under_way(url: str, service: ScriptedService) -> None:
    service.turn_s = 0.5

    async def ask() -> list[str]:
        async with AsyncOpenAI(base_url=url, api_key=TOKEN, max_retries=0, timeout=20) as client:
            asked = [client.images.generate(**OPTIONS, stream=stream) for stream in (False, False, False)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            again = await client.images.generate(**OPTIONS)
            return sorted(type(answer).__name__ for answer in [*answers, again])

    assert asyncio.run(ask()) == ["ImagesResponse"] * 3 + ["RateLimitError"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_frees_its_work_and_its_slot(client: OpenAI, service: ScriptedService, stream: bool) -> None:
    for _ in range(3):  # more than one client may have under way
        service.turn_s = 0.0 if stream else 30.0
        service.holds_after = 99
        if stream:
            answer = client.images.generate(**OPTIONS, n=3, stream=True, extra_body={"turns": 8})
            service.turn_s = 30.0
            next(answer)
            answer.close()
        else:
            with pytest.raises(openai.APITimeoutError):
                client.with_options(timeout=0.5).images.generate(**OPTIONS, n=3)
        wait_for(lambda: service.under_way == 0, "the episodes' end")
    service.turn_s, service.holds_after = 0.0, 1
    assert client.images.generate(**OPTIONS).data
