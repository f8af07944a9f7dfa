"""What schemathesis makes of the OpenAPI document: many right and wrong requests to each route."""

import copy
import io
import json

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image

from studio.api.app import make_app
from studio.config import GatewayConfig
from tests.studio.scripted_service import ScriptedService, picture

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

TOKEN = "a-token-of-enough-characters"
SERVICE = ScriptedService()
APP = make_app(SERVICE, GatewayConfig(refusal_wait_s=0), token=TOKEN)


def narrowed() -> dict:
    """The document with what it cannot say: which texts are requirements, which models there are, which bytes are an
    image."""
    document = copy.deepcopy(APP.openapi())
    paths = document["paths"]
    generation = paths["/v1/images/generations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    edit = paths["/v1/images/edits"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    for schema, no_model in ((generation, [None]), (edit, [])):
        schema["properties"]["prompt"] = {"enum": ["cat above dog"]}
        schema["properties"]["model"] = {"enum": ["rlrig", "rlrig-raw", *no_model]}
    read = paths["/v1/requirements"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    read["properties"]["prompt"] = {"enum": ["cat above dog"]}
    wanted = [{"subject": "cat", "relation": "above", "object": "dog"}]
    generation["properties"]["requirements"] = {"enum": [wanted, None]}
    edit["properties"]["requirements"] = {"enum": [json.dumps(wanted)]}
    return document


def encoded(pillow_name: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(9)).save(buffer, pillow_name)
    return buffer.getvalue()


for kind, pillow_name in (("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP")):
    schemathesis.openapi.media_type(kind, st.just(encoded(pillow_name)))
SCHEMA = schemathesis.openapi.from_dict(narrowed())
SCHEMA.app = APP


@SCHEMA.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_the_document_says(case: schemathesis.Case) -> None:
    """No 5xx, no undocumented status, body or event; what the document allows is taken, and nothing else is."""
    # Beside files, schemathesis sends a form's other needed fields empty and takes this for right.
    empty = isinstance(case.body, dict) and case.body.get("prompt") == ""
    excluded = [checks.positive_data_acceptance] if empty else []
    parts = isinstance(case.body, dict) and case.body.get("requirements")
    if parts or case.path == "/v1/images/edits":  # an instruction is taken, too; and beside parts no prompt is read
        excluded.append(checks.negative_data_rejection)
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=excluded)
    assert SERVICE.under_way == 0
