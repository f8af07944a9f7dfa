"""Reads the body of a request, JSON or a form with a file, into a type; what is too long is not kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from email.message import Message
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.formparsers import MultiPartException, MultiPartParser

from studio.config import GatewayConfig
from studio.errors import ApiError, from_validation, shown

_Body = TypeVar("_Body", bound=BaseModel)
_JSON_CHARS = 12  # that one character may take as two \uXXXX
_OTHER_BYTES = 64 * 1024
_FILE_FIELDS = ("image", "image[]")  # the second is how some clients name a list of one
_MAX_FILES = 20  # that are counted before they are refused by name; OpenAI's API takes 16 and a mask


async def read_json(request: Request, model: type[_Body], config: GatewayConfig) -> _Body:
    """A body of `application/json`.

    Raises:
        ApiError: 400 for a body that is no JSON object or that `model` does not allow, 408, 413 and 415.
    """
    if _media_type(request) != "application/json":
        raise ApiError(
            415, "send the body as JSON, with 'Content-Type: application/json'", code="unsupported_media_type"
        )
    limit = config.max_prompt_chars * _JSON_CHARS + _OTHER_BYTES
    text = b"".join([part async for part in _limited(request, limit, config.body_deadline_s)])
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiError(
            400, 'the body is not JSON; send an object such as {"prompt": "…"}', code="invalid_json"
        ) from error
    if not isinstance(fields, dict):
        raise ApiError(400, f"the body is JSON, but {shown(fields)} is no object", code="invalid_json")
    return _checked(model, fields, from_text=False)


async def read_form(request: Request, model: type[_Body], config: GatewayConfig) -> tuple[_Body, bytes]:
    """A body of `multipart/form-data`: its fields, and the bytes of its one file `image`.

    Raises:
        ApiError: 400 for a body that is no form, that `model` does not allow or that has no file, 408, 413 and 415.
    """
    if _media_type(request) != "multipart/form-data":
        raise ApiError(
            415,
            "send a form with the file 'image', with 'Content-Type: multipart/form-data'",
            code="unsupported_media_type",
        )
    parts = _limited(request, config.max_upload_bytes + _OTHER_BYTES, config.body_deadline_s)
    parser = MultiPartParser(
        request.headers,
        parts,
        max_files=_MAX_FILES,
        max_fields=2 * len(model.model_fields),
        max_part_size=config.max_prompt_chars * 4 + 1024,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"the form cannot be read: {error.message}", code="invalid_form") from error
    except UnicodeError as error:  # of a charset that the client names
        raise ApiError(400, "the form cannot be read: send its texts as UTF-8", code="invalid_form") from error
    try:
        fields: dict[str, str] = {}
        image: bytes | None = None
        for name, value in form.multi_items():
            if name in ("mask", "mask[]"):
                message = "mask: the whole image may change, so there is no mask; leave it out"
                raise ApiError(400, message, param="mask", code="unsupported_field")
            if name in _FILE_FIELDS and image is not None:
                message = "image: a second file is given; send one, the image to edit"
                raise ApiError(400, message, param="image", code="too_many_files")
            if name in fields:
                raise ApiError(
                    400, f"field {shown(name)} is given twice; give it once", param=name, code="invalid_value"
                )
            if name not in _FILE_FIELDS:
                if not isinstance(value, str):
                    raise ApiError(
                        400, f"field {shown(name)} is a file; only 'image' is", param=name, code="unknown_field"
                    )
                fields[name] = value
            elif isinstance(value, str):
                raise ApiError(400, "image: it is text; send it as a file", param="image", code="invalid_value")
            else:
                image = await value.read()
    finally:
        await form.close()
    body = _checked(model, fields, from_text=True)
    if image is None:
        raise ApiError(400, "field 'image' is missing; send a PNG, JPEG or WebP", param="image", code="missing_field")
    return body, image


def _checked(model: type[_Body], fields: Mapping[str, Any], *, from_text: bool) -> _Body:
    try:
        return model.model_validate_strings(fields, strict=False) if from_text else model.model_validate(fields)
    except ValidationError as error:
        raise from_validation(error, list(model.model_fields)) from error


def _media_type(request: Request) -> str:
    header = Message()
    header["Content-Type"] = request.headers.get("content-type", "")
    return header.get_content_type() if request.headers.get("content-type") else ""


async def _limited(request: Request, limit: int, deadline_s: float) -> AsyncGenerator[bytes, None]:
    """The body's parts as they come.

    Raises:
        ApiError: 413 for more than `limit` bytes, 408 after `deadline_s` seconds.
    """
    declared = request.headers.get("content-length", "")
    too_large = ApiError(413, f"the body is too large; send at most {limit} bytes", code="body_too_large")
    if declared.isdecimal() and int(declared[:19]) > limit:
        raise too_large
    ends = asyncio.get_running_loop().time() + deadline_s
    received = 0
    async with aclosing(request.stream()) as parts:
        while True:
            try:
                async with asyncio.timeout_at(ends):
                    part = await anext(parts)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                message = f"the body had not come whole after {deadline_s:g} s; send it faster"
                raise ApiError(408, message, code="body_timeout") from error
            received += len(part)
            if received > limit:
                raise too_large
            yield part
