"""Requests to the endpoint, without a server, and what their answers hold."""

import base64
import json

import numpy as np
from starlette.testclient import TestClient

from scenes.png import decode_png, encode_png
from studio.api.app import make_app
from studio.config import GatewayConfig
from tests.studio.scripted_service import ScriptedService, picture

PROMPT = "red circle left of blue square; green star above red circle"
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
TOKEN = "a-token-of-enough-characters"


def client(service: ScriptedService | None = None, token: str = "", **config) -> TestClient:
    """Of an endpoint that does not let refusals wait, unless `config` says so."""
    app = make_app(service or ScriptedService(), GatewayConfig(**{"refusal_wait_s": 0, **config}), token=token)
    return TestClient(app, base_url="http://127.0.0.1")


def image_of(b64: str) -> np.ndarray:
    return decode_png(base64.b64decode(b64))


def events_of(text: str) -> list[tuple[str | None, dict]]:
    """Name and data of each server-sent event but the last, which must be `[DONE]`."""
    *events, done = [event for event in text.split("\n\n") if event and not event.startswith(":")]
    assert done == "data: [DONE]"
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in map(str.splitlines, events)
    ]


def edit(http: TestClient, image: bytes | None = None, name: str = "image", **fields: str):
    files = {name: ("photo.png", encode_png(picture(50)) if image is None else image)}
    return http.post(EDITS, files=files, data={"prompt": PROMPT, **fields})
