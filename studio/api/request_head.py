"""What the first lines of a request must be before anything reads them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.types import Scope

from studio.errors import ApiError, shown

_MAX_PATH, _MAX_QUERY, _MAX_NAME = 2048, 8192, 255
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_ORIGIN = re.compile(r"null|[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@\\]*")


def check_head(scope: Scope) -> None:
    """Refuse a request whose path, `Host` or `Origin` cannot be meant.

    Raises:
        ApiError: 414 for a path or a name in it that is too long, 400 for control characters in it and for a header
            that is malformed or there twice.
    """
    path: str = scope["path"]
    _check_length("path", len(path.encode("utf-8", "surrogatepass")), _MAX_PATH)
    _check_length("query", len(scope.get("query_string", b"")), _MAX_QUERY)
    for name in path.split("/"):
        _check_length("name in the path", len(name.encode("utf-8", "surrogatepass")), _MAX_NAME)
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        raise ApiError(400, f"the path {shown(path)} has control characters; leave them out", code="invalid_path")
    _check_header(scope, b"host", _HOST)
    _check_header(scope, b"origin", _ORIGIN)


def _check_length(what: str, length: int, most: int) -> None:
    if length > most:
        raise ApiError(414, f"the {what} has {length} bytes; send at most {most}", code="uri_too_long")


def _check_header(scope: Scope, name: bytes, form: re.Pattern[str]) -> None:
    given = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    if len(given) > 1 or (given and given[0] and not _is(given[0], form)):
        told = "is there twice" if len(given) > 1 else f"is malformed: {shown(given[0])}"
        raise ApiError(400, f"the header '{name.decode().title()}' {told}; send one that is right",
                       code="invalid_header")  # fmt: skip


def _is(value: str, form: re.Pattern[str]) -> bool:
    if not form.fullmatch(value):
        return False
    try:
        parts = urlsplit(value if "://" in value else f"//{value}")
        _ = parts.hostname, parts.port
    except ValueError:  # brackets without an address, a port that is none
        return False
    return True
