"""Who may ask, and how many requests of one client may be under way."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serving.forwarded import client_address
from studio.config import GatewayConfig, is_loopback
from studio.errors import ApiError

MIN_TOKEN_CHARS = 16
BEARER = HTTPBearer(auto_error=False, description="The token that the endpoint was started with, where it has one.")


class Access:
    """The access check of one endpoint. It needs the token where there is one. Without a token it serves this machine
    only, and no web page of another origin: a browser would lend such a page its way to the loopback address.

    Args:
        token: the bearer token; None takes the environment variable `config.token_env`, empty means none.

    Raises:
        ValueError: no token although the address is not a loopback one, or a token that is too short.
    """

    def __init__(self, config: GatewayConfig, token: str | None = None) -> None:
        token = (os.environ.get(config.token_env, "") if token is None else token).strip()
        if config.needs_token and not token:
            raise ValueError(
                f"gateway.host: {config.host!r} can be reached from other machines, so a bearer token is needed; set "
                f"the environment variable {config.token_env} or listen on 127.0.0.1"
            )
        if token and len(token) < MIN_TOKEN_CHARS:
            raise ValueError(
                f"gateway.token_env: the token in {config.token_env} has {len(token)} characters; use at least "
                f"{MIN_TOKEN_CHARS}, for example those of `openssl rand -hex 32`"
            )
        self._digest = _digest(token) if token else None
        self._config = config
        self._under_way: Counter[str] = Counter()

    @property
    def token_needed(self) -> bool:
        """Whether requests must bring the token."""
        return self._digest is not None

    def allows(self, token: str | None) -> bool:
        """Whether this token, None for a request without one, lets a request in."""
        if self._digest is None:
            return True
        # Digests have one length, so that the time of the comparison tells nothing of the token, not even its length.
        return hmac.compare_digest(_digest(token or ""), self._digest)

    def check(self, request: Request, token: str | None) -> None:
        """Let a request in or not.

        Raises:
            ApiError: 401 for a missing or wrong token; 403 for a request by way of another host's name or web page.
        """
        if self._digest is not None:
            if not self.allows(token):
                told = "the bearer token is wrong" if token else "a bearer token is needed"
                raise ApiError(
                    401,
                    f"{told}; send the header 'Authorization: Bearer TOKEN'",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            return
        host = request.headers.get("host", "")
        if not is_loopback(urlsplit(f"//{host}").hostname or ""):
            raise ApiError(
                403,
                "without a token, the endpoint answers to loopback addresses only; set a token",
                code="host_refused",
            )
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise ApiError(
                403,
                "without a token, the endpoint serves no pages of other origins; set a token",
                code="origin_refused",
            )

    def client(self, request: Request) -> str:
        """The address that a request comes from; `X-Forwarded-For` counts from trusted proxies only."""
        return client_address(request.scope, self._config.trusted_proxy)

    @contextmanager
    def slot(self, client: str) -> Iterator[None]:
        """Count a request of this client for as long as it is under way.

        Raises:
            ApiError: 429 where the client has too many under way, 503 where the endpoint has.
        """
        if self._under_way[client] >= self._config.max_requests_per_client:
            raise ApiError(
                429,
                f"{self._under_way[client]} of your requests are under way; wait until one has ended",
                code="too_many_requests",
                headers={"Retry-After": "1"},
            )
        if self._under_way.total() >= self._config.max_requests:
            raise ApiError(
                503,
                "as many requests are under way as the endpoint takes; ask again",
                code="service_unavailable",
                headers={"Retry-After": "1"},
            )
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def access_of(request: Request) -> Access:
    """The access check of the app that a request came to."""
    access: Access = request.app.state.access
    return access


async def require(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
) -> None:
    """Dependency of a route that only those may ask who are let in.

    Raises:
        ApiError: see `Access.check`.
    """
    access_of(request).check(request, credentials.credentials if credentials else None)


async def slot(request: Request) -> AsyncIterator[None]:
    """Dependency of a route that makes images: holds one of the client's slots until the answer has been sent.

    Raises:
        ApiError: see `Access.slot`.
    """
    access = access_of(request)
    with access.slot(access.client(request)):
        yield
