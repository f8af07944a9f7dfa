"""The OpenAPI document, and what schemathesis makes of it: many right and wrong requests to each route."""

import pytest
from hypothesis import HealthCheck, settings

from scenes.png import encode_png
from serving.gateway.app import make_app
from serving.gateway.gateway_config import GatewayConfig
from tests.serving.gateway.scripted_service import ScriptedService, picture

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
serialization = pytest.importorskip("schemathesis.transport.serialization")

PROMPT = "red circle left of blue square; green star above red circle"
TOKEN = "a-token-of-enough-characters"
SERVICE = ScriptedService()
APP = make_app(SERVICE, GatewayConfig(), token=TOKEN)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)


@SCHEMA.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_the_document_says(case: schemathesis.Case) -> None:
    """No 5xx, no undocumented status, body or header; what the document allows is taken, and nothing else is.

    A document cannot say which texts are requirements, which models there are and which bytes are an image, so a right
    request gets these.
    """
    if case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        case.body |= {"prompt": PROMPT}
        if "model" in case.body:
            case.body |= {"model": "rlrig"}
        if "image" in case.body:
            case.body |= {"image": serialization.Binary(encode_png(picture(9)))}
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"})
    assert SERVICE.under_way == 0
