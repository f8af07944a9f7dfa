"""`docs/http.md`, made from the OpenAPI document.

`python -m studio.api.reference` prints the page; with `--write`, it writes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from presets.errors import BadInput
from presets.places import BASE, checkout
from scenes.pictures.size import PictureSize
from scenes.whole_file import whole_file
from serving.generation import Answer
from studio.api.app import make_app
from studio.api.images import ERRORS
from studio.config import GatewayConfig
from studio.episodes.service import Ask, Finished, ModelInfo, ServiceUnavailable, TurnReady

PAGE = BASE / "docs" / "http.md"
_INTRODUCTION = """\
# HTTP

`rlrig serve` answers these requests. The API is that of OpenAI's images, so its official clients work:

```python
from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="the token, or anything where there is none")
answer = client.images.generate(
    model="rlrig",
    prompt="red circle left of blue square; green star above red circle",
    extra_body={"seed": 7, "turns": 2},
)
print(answer.data[0].rlrig["turns"])
```

With `stream=True`, each image arrives as an event as soon as it is ready:

```python
for event in client.images.generate(model="rlrig", prompt="red circle left of blue square", stream=True):
    print(event.type, event.item)
```

A prompt is a list of requirements (`red circle left of blue square; green star above red circle`) or sentences that say
the same (`A red circle is to the left of a blue square, and a green star is above the red circle.`). Nothing is
guessed: a prompt with words that are no requirement gets a 422 that shows which were understood and which were not.
One that is longer than the models can read is a 400 that says how much they can: the small preset takes eight
requirements.

These four relations are those of models of the shape world, such as the small ones; `relations` of `GET /v1/models`
names them. Where it is null, the models take any relation between any items: `a red fox on top of a wooden table, a
lamp behind the table`. The relation is found by English words. One of other words stands in square brackets: `fox
[leaping over] fence`, `кот [на] столе`. Words are kept as they are written, but for articles before items.

`requirements` says the same in parts, and nothing of it has to be found. The prompt, which clients must send, is then
not read:

```python
wanted = [{"subject": "red fox", "relation": "on top of", "object": "wooden table"}]
client.images.generate(model="rlrig", prompt="a fox", extra_body={"requirements": wanted})
```

Where `relations` is null, an image may be required to show more, in a prompt or as `{"text": "two cats"}` among the
requirements: presence (`a red fox`), a count (`two cats`), an attribute (`the table is wooden`), or a question of your
own (`? Is the fox asleep?`). `POST /v1/requirements` tells what a prompt in any words requires, as the Actor's VLM
reads it, and draws nothing.

Control characters and marks such as `<` or `|` are refused in items and relations. An item has at most 120 characters,
a relation 60.

An uploaded image is turned as its EXIF data says, laid over white where it is transparent, and scaled to the size that
the models make. It must have the ratio of that size, a square where the models make squares, because cropping could
remove an item that a requirement speaks of. A process of its own decodes it; a file that takes too long, or has too
many scans or chunks, is refused.

Fields of OpenAI's API that mean nothing here (`quality`, `style`, `user` and others) are taken, and `rlrig.ignored`
names them in the answer. So is a `size` that the models do not make; the answer has the real one.

The prompt of an edit may also be an instruction (`move the red circle left of the blue square`): the image is then
edited once as it says, and nothing is checked. [Serving](serving.md#instructions) tells which prompts are instructions.

Without a token, the endpoint answers on a loopback address only, under a loopback name, and not to web pages of other
origins. Beyond that it starts only where the environment variable `RLRIG_TOKEN` holds a token of 16 characters or more,
which each request then brings as `Authorization: Bearer TOKEN`; `/healthz`, `/readyz` and `/openapi.json` need none.

Every error has the form `{"error": {"message", "type", "param", "code"}}`. Every answer has one header `X-Request-Id`,
which the log names where something failed. A request may bring the id along, as 1 to 64 letters, digits, `.`, `_` and
`-`. A client that closes its connection ends its episodes.

This page is made from the OpenAPI document (`GET /openapi.json`), with the limits that an endpoint has by default and a
model of 64 × 64 pixels: `python -m studio.api.reference --write` writes it anew.
"""
_NO_MODELS = "there are none; this app is only described"
_WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}


class _NoModels:
    """Enough of a service for its app to be described."""

    image_size = PictureSize(64, 64)

    def models(self) -> list[ModelInfo]:
        return []

    async def ready(self) -> dict[str, str]:
        return {"models": _NO_MODELS}

    async def say(self, text: str) -> Answer:
        raise ServiceUnavailable(_NO_MODELS)

    def episode(self, ask: Ask) -> AsyncGenerator[TurnReady | Finished, None]:
        raise ServiceUnavailable(_NO_MODELS)


def http_page() -> str:
    """`docs/http.md`: each route with its body and its answers, then the types."""
    app = make_app(_NoModels(), GatewayConfig(), token="")
    document = app.openapi()
    parts = [_INTRODUCTION, "\n".join(_errors())]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append("\n".join(_operation(path, method, operation)))
    parts.append("## Types\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(f"### {name}\n\n{_plain(schema['description'])}\n\n{_fields(schema)}\n")
    return "\n".join(parts).rstrip("\n") + "\n"


def _errors() -> Iterator[str]:
    """The answers that are errors, once for all routes."""
    yield "## Errors\n\nEach has a body of type [ErrorResponse](#errorresponse).\n"
    yield "| status | meaning |\n| --- | --- |"
    for status, error in ERRORS.items():
        yield f"| {status} | {_plain(error['description'])} |"
    yield ""


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"## {method.upper()} `{path}`\n"
    yield f"{operation.get('description') or operation['summary']}\n".rstrip(".\n") + ".\n"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{media_type}`:\n"
        yield _fields(content["schema"], defaults=True) + "\n"
    yield "| status | body | meaning |\n| --- | --- | --- |"
    errors = []
    for status, answer in sorted(operation["responses"].items()):
        kinds = [_content(media_type, content) for media_type, content in answer.get("content", {}).items()]
        if kinds == ["[ErrorResponse](#errorresponse)"]:
            errors.append(status)
        else:
            yield f"| {status} | {', '.join(kinds)} | {_plain(answer['description'])} |"
    if errors:
        yield f"| {', '.join(errors)} | [ErrorResponse](#errorresponse) | see [Errors](#errors) |"
    yield ""


def _content(media_type: str, content: dict[str, Any]) -> str:
    if "itemSchema" in content:
        return f"`{media_type}`"
    return _kind(content.get("schema", {})) if media_type == "application/json" else f"`{media_type}`"


def _fields(schema: dict[str, Any], *, defaults: bool = False) -> str:
    """A table of an object's fields; the defaults matter in requests only."""
    head = ["field", "type", "default", "meaning"] if defaults else ["field", "type", "meaning"]
    rows = [head, ["---"] * len(head)]
    for name, field in schema["properties"].items():
        needed = name in schema.get("required", ())
        default = ["*needed*" if needed else f"`{json.dumps(field.get('default'))}`"] if defaults else []
        rows.append([f"`{name}`", _kind(field), *default, _plain(field.get("description", ""))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _kind(schema: dict[str, Any]) -> str:
    """A type in words, with its limits."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_kind, options))
    if "const" in schema or "enum" in schema:
        return " \\| ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("type") == "object":
        return f"mapping to {_kind(schema['additionalProperties'])}"
    if schema.get("format") == "binary":
        return "file"
    if schema.get("type") == "null":
        return "null"
    return ", ".join([_WORDS[schema["type"]], *_limits(schema)])


def _limits(schema: dict[str, Any]) -> Iterator[str]:
    if "minimum" in schema:
        yield f"≥ {int(schema['minimum'])}"
    if "maximum" in schema:
        yield f"≤ {int(schema['maximum'])}"
    if schema.get("minLength"):
        yield "not empty"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']} characters"


def _plain(text: str) -> str:
    """Text on one line, as a cell of a table can hold it."""
    return " ".join(text.split()).replace("|", "\\|")


def write_page(page: Path = PAGE) -> Path:
    """Write the page; its path."""
    with whole_file(page) as partial:
        partial.write_text(http_page(), encoding="utf-8")
    return page


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        try:
            print(write_page(checkout("docs") / PAGE.name))
        except BadInput as error:
            sys.exit(str(error))
    elif sys.argv[1:]:
        sys.exit(f"python -m studio.api.reference [--write]: {sys.argv[1:]} is not known")
    else:
        print(http_page(), end="")
