"""Errors as OpenAI's API tells them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from scenes.requirements_reader import NotUnderstood
from scenes.vocabulary.forms import PARTS, TEXT
from studio.episodes.service import ServiceUnavailable, TurnTimeout

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_SHOWN_CHARS = 80


class ApiError(Exception):
    """An answer other than the one that was asked for.

    Args:
        status: the HTTP status.
        message: what is wrong and what to do about it; the client reads it.
        param: the field of the request that is at fault.
        code: a name for this kind of error that a program can compare.
        headers: headers of the answer.
        more: further fields of the error.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers, self.more = dict(headers or {}), more

    @property
    def body(self) -> dict[str, Any]:
        """The error in OpenAI's form."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code, **self.more}}

    def response(self) -> Response:
        """The error as an HTTP answer."""
        # Escapes all but ASCII: what is quoted from a request may hold characters that UTF-8 has no bytes for.
        text = json.dumps(self.body, ensure_ascii=True)
        return Response(text, self.status, self.headers, media_type="application/json")


def shown(value: Any) -> str:
    """A value of a request as an error quotes it: its repr, cut short."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def from_validation(error: ValidationError, fields: list[str]) -> ApiError:
    """The first thing that a body's types do not allow, as a 400; `fields` are the names that are known."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else None
    parts = [part for part in first["loc"] if part not in (PARTS, TEXT)]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)[1:]
    if first["type"] == "extra_forbidden":
        message = f"field {shown(place)} is not known; leave it out. The fields are {', '.join(fields)}"
        message = message if place == name else message.partition(". The")[0]
        return ApiError(400, message, param=name, code="unknown_field")
    if first["type"] == "missing":
        return ApiError(400, f"field {place!r} is missing; give it", param=name, code="missing_field")
    message = f"{place}: {first['msg']}, not {shown(first['input'])}" if name else f"body: {first['msg']}"
    return ApiError(400, message, param=name, code="invalid_value")


def from_prompt(error: NotUnderstood) -> ApiError:
    """A 422 that shows what of a prompt, or of requirements, was understood and what was not."""
    return ApiError(
        422,
        str(error),
        param=error.field,
        code=f"{error.field}_not_understood",
        understood=[one.text for one in error.understood],
        not_understood=[{"text": text, "reason": reason} for text, reason in error.not_understood],
    )


def from_service(error: ServiceUnavailable | TurnTimeout) -> ApiError:
    """What the service could not do, as a 503 with `Retry-After` or a 504."""
    if isinstance(error, ServiceUnavailable):
        after = str(max(1, round(error.retry_after_s)))
        return ApiError(503, str(error), code="service_unavailable", headers={"Retry-After": after})
    return ApiError(504, str(error), code="turn_timeout")


def internal(request_id: str) -> ApiError:
    """A 500 that tells nothing but the request's id, under which the log names the place."""
    return ApiError(500, f"the endpoint failed on request {request_id}; its log names the place", code="internal_error")
