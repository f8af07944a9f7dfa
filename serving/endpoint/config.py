"""Settings of one model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from scenes.section import Section

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EndpointConfig(Section):
    """Where questions about images go, and within which limits. The key itself is never a part of it.

    Raises:
        pydantic.ValidationError: an unknown field, an address that cannot be used, or one to which the key would travel
            unencrypted.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str
    """Address of the endpoint, for most of them ending in `/v1`."""

    model: str = Field(min_length=1)
    """Name of the model, as the endpoint knows it."""

    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; an empty name sends none."""

    timeout_s: float = Field(60.0, gt=0)
    """Seconds that one request may take, from connecting to the last byte."""

    deadline_s: float = Field(300.0, gt=0)
    """Seconds that one question may take, repeated requests and pauses included."""

    pause_s: float = Field(0.5, gt=0)
    """Longest pause before the first repeated request; it doubles from one to the next."""

    concurrency: int = Field(8, ge=1)
    """Most requests at the same time."""

    max_tokens: int = Field(2048, ge=1)
    """Most tokens of an answer. Left out where the endpoint refuses such a limit."""

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        example = "give one like https://api.openai.com/v1"
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"the address cannot be read ({error}); {example}") from error
        if parts.username is not None or parts.password is not None:
            # The value would show a password, so it stays out of the message.
            raise ValueError("the address holds a user or password; put a key into an environment variable instead")
        if parts.scheme not in ("http", "https"):
            raise ValueError(f"{value!r} begins neither with http:// nor with https://; {example}")
        if not host or any(character.isspace() for character in value):
            raise ValueError(f"{value!r} names no host; {example}")
        if parts.query or parts.fragment:
            raise ValueError(f"{value!r} has a part after '?' or '#', which paths cannot be added to; {example}")
        return value

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if value and not _VARIABLE.fullmatch(value):
            # Whoever gives the key itself must not find it in a message or a log.
            raise ValueError("what was given is no name of an environment variable; give the name, not the key")
        return value

    @model_validator(mode="after")
    def _keeps_the_key_secret(self) -> EndpointConfig:
        if self.api_key and urlsplit(self.base_url).scheme != "https" and not self.is_loopback:
            raise ValueError(
                f"{self.base_url!r} is not encrypted, so the key in {self.api_key_env} would travel in clear; "
                "use https, or an empty api_key_env, which sends no key"
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether the address never leaves this machine."""
        host = urlsplit(self.base_url).hostname or ""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def api_key(self) -> str:
        """The key, read from the environment each time; empty where there is none."""
        return os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""
