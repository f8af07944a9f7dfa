"""What the log says of a failure: its kind and its place, never a traceback, a path, or a message that may quote a
request."""

from __future__ import annotations

import logging
import secrets
from collections.abc import MutableMapping
from typing import Any

from serving.proxy.limits import given_id

_LOG = logging.getLogger(__name__)
_KEY = "rlrig.request_id"


def request_id(scope: MutableMapping[str, Any]) -> str:
    """The id of a request: the one that it brings along, or one that is made."""
    if _KEY not in scope:
        scope[_KEY] = given_id(scope) or secrets.token_hex(8)
    id_: str = scope[_KEY]
    return id_


def log_failure(id_: str, error: BaseException) -> None:
    """Tell under a request's id which kind of error came from which line of which module."""
    place, trace = "an unknown place", error.__traceback__
    while trace is not None:
        place = f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
        trace = trace.tb_next
    _LOG.error("request %s: %s at %s", id_, type(error).__name__, place)
