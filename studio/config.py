"""Settings of the endpoint: where it listens, who may ask, and the limits of one request."""

from __future__ import annotations

from ipaddress import ip_address

from pydantic import Field, ValidationError, field_validator, model_validator

from scenes.section import Section
from serving.endpoint.config import EndpointConfig
from serving.forwarded import networks


class GatewayConfig(Section):
    """The endpoint of `rlrig serve`, which takes these keys as `--set gateway.KEY=VALUE`. They are no part of a run
    file."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """The address that it listens on; any but a loopback address needs a token."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port that it listens on; 0 takes a free one."""
    trusted_proxy: list[str] = Field(default_factory=list)
    """Addresses and networks of the proxies in front, as `10.0.0.7` or `10.0.0.0/8`; their `X-Forwarded-For` tells
    clients apart, and nobody else's does."""
    token_env: str = Field(default="RLRIG_TOKEN", min_length=1)
    """The environment variable that holds the bearer token; where it is set, every request needs the token."""
    strict: bool = False
    """Whether a `size` that the models do not make is refused; without it, the answer tells the size that it has."""
    max_prompt_chars: int = Field(default=2000, ge=1)
    """The longest prompt, in characters."""
    max_requirements: int = Field(default=32, ge=1)
    """The most requirements in one prompt; the Checker is asked one question for each."""
    max_n: int = Field(default=8, ge=1)
    """The most images in one request (`n`)."""
    max_turns: int = Field(default=8, ge=0)
    """The most turns that a request may ask for."""
    default_turns: int | None = Field(default=None, ge=0)
    """Turns of a request that asks for none; null takes the preset's."""
    max_upload_bytes: int = Field(default=8 * 1024 * 1024, ge=1)
    """The largest uploaded image file."""
    max_pixels: int = Field(default=4_194_304, ge=1)
    """The most pixels of an uploaded image; larger ones are refused before they are decoded."""
    decode_workers: int = Field(default=2, ge=1)
    """Processes that decode uploaded images, each one image at a time."""
    decode_queue: int = Field(default=16, ge=0)
    """How many uploaded images may wait for one of them; more get a 429."""
    decode_deadline_s: float = Field(default=15.0, gt=0)
    """How long decoding one image may take; its process is ended then, and the image refused."""
    decode_cpu_s: int = Field(default=2, ge=1)
    """How many seconds of computing it may take."""
    refusal_wait_s: float = Field(default=1.0, ge=0)
    """How long the answer to a form that is refused waits, with its place among the client's requests kept: whoever
    sends one after the other takes less from others."""
    max_requests_per_client: int = Field(default=8, ge=1)
    """How many requests of one client, told apart by address, may be under way."""
    max_requests: int = Field(default=256, ge=1)
    """How many requests may be under way in all."""
    turn_deadline_s: float = Field(default=60.0, gt=0)
    """How long one turn may take."""
    body_deadline_s: float = Field(default=30.0, gt=0)
    """How long a client may take to send the body of its request."""
    keep_alive_s: float = Field(default=10.0, gt=0)
    """How often a stream with nothing to tell sends a comment, so that proxies keep it open."""
    batch_wait_s: float = Field(default=0.01, ge=0)
    """How long a call of a role waits for more requests before it goes out with those that it has."""
    max_batch: int = Field(default=16, ge=1)
    """The most requests that a role answers at once."""
    max_image_replicas: int | None = Field(default=None, ge=1)
    """Replicas of the Diffuser, and of the editor, that many requests may bring about; null keeps to `diffuser.workers`
    and `editor.workers`, which are there in any case."""
    max_vlm_replicas: int | None = Field(default=None, ge=1)
    """The same for the Actor and the Checker; null keeps to their `replicas`."""
    parser_url: str | None = None
    """An OpenAI-compatible endpoint, for most of them ending in `/v1`, whose model rewrites prompts that cannot be read
    as requirements; null refuses these."""
    parser_model: str | None = None
    """The model there."""
    parser_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key for it; empty sends none."""
    parser_timeout_s: float = Field(default=20.0, gt=0)
    """How long it may take."""
    update_deadline_s: float = Field(default=600.0, gt=0)
    """How long new weights may wait for the episodes under way, then take, and how long new episodes wait for them."""

    @property
    def parser(self) -> EndpointConfig | None:
        """The endpoint of the model that rewrites prompts, where there is one."""
        if self.parser_url is None or self.parser_model is None:
            return None
        return EndpointConfig(
            base_url=self.parser_url,
            model=self.parser_model,
            api_key_env=self.parser_key_env,
            timeout_s=self.parser_timeout_s,
        )

    @field_validator("trusted_proxy")
    @classmethod
    def _networks(cls, names: list[str]) -> list[str]:
        networks(names)
        return names

    @model_validator(mode="after")
    def _parser_can_be_asked(self) -> GatewayConfig:
        if (self.parser_url is None) != (self.parser_model is None):
            raise ValueError("parser_url and parser_model: give both, or neither")
        try:
            _ = self.parser
        except ValidationError as error:
            raise ValueError(f"parser_url: {error.errors()[0]['msg']}") from error
        return self

    def with_turns(self, turns: int) -> GatewayConfig:
        """These settings, where a request that asks for no turns gets so many unless `default_turns` says otherwise."""
        if self.default_turns is not None:
            return self
        return self.model_copy(update={"default_turns": min(turns, self.max_turns)})

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.host)

    @property
    def needs_token(self) -> bool:
        """Whether the endpoint may not start without a bearer token."""
        return not self.loopback


def is_loopback(host: str) -> bool:
    """Whether a host name or an address means this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:  # another name; where it leads is not known here
        return False
