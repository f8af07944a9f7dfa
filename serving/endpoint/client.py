"""The official client for an OpenAI-compatible endpoint, which goes where it is told and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.endpoint.config import EndpointConfig

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def open_client(config: EndpointConfig) -> AsyncOpenAI:
    """A client of this endpoint that makes one try within `timeout_s`."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    # Redirects would take what is sent, and proxies of the environment a plain loopback request, to other machines.
    http_client = DefaultAsyncHttpxClient(follow_redirects=False, trust_env=not config.is_loopback)
    return AsyncOpenAI(
        base_url=config.base_url,
        api_key=config.api_key or "none",  # the client wants one, and finds none by itself
        timeout=config.timeout_s,
        max_retries=0,
        http_client=http_client,
    )
