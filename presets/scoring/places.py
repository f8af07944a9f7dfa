"""Where a scorer runs, if not in the EnvRunners: as Ray actors, or as a service over HTTP."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from scenes.section import Section


class FleetConfig(Section):
    """Ray actors of one scorer. One that dies, or does not answer within half of `deadline_s`, is started again."""

    workers: int = Field(1, ge=1)
    """Ray actors, which share a batch by its groups."""
    cpus: float = Field(0.5, ge=0)
    """Logical CPUs of each."""
    gpus: float = Field(0.0, ge=0)
    """GPUs of each, or a part of one. What it takes of the memory there is for its code to keep in bounds."""
    batch: int | None = Field(None, ge=1)
    """Turns that the scorer is called with at a time, at most; null: all that have come, with whole groups."""
    start_deadline_s: float = Field(300.0, gt=0)
    """Seconds that the start of all may take."""


class HttpConfig(Section):
    """A service that scores turns over HTTP."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """Where turns are posted to, as JSON."""
    batch: int = Field(32, ge=1)
    """Turns in a request, at most."""
    concurrency: int = Field(4, ge=1)
    """Requests at the same time, at most."""
    timeout_s: float = Field(20.0, gt=0)
    """Seconds that the service may be silent."""
    token_env: str = Field("", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """Environment variable whose value is sent as bearer token; empty: none is sent."""

    @model_validator(mode="after")
    def _keeps_the_token_secret(self) -> HttpConfig:
        if self.token_env and not self.is_loopback and urlsplit(self.url).scheme != "https":
            raise ValueError("the token would travel in clear; use https, or leave token_env empty")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether the address never leaves this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(
                f"the address cannot be read ({error}); give one like http://127.0.0.1:9000/score"
            ) from error
        if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
            raise ValueError("give an address like http://127.0.0.1:9000/score, without user and password")
        return value
