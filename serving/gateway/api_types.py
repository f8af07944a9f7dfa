"""The bodies of requests and answers: OpenAI's Images API, and the trace of the turns beside each image."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from serving.gateway.gateway_config import GatewayConfig
from serving.gateway.service import TRAINED_MODEL

MAX_SEED = 2**53 - 1  # the largest whole number that JavaScript keeps exactly


class ImageRequest(BaseModel):
    """Asks for images that meet the requirements of a prompt."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    prompt: str = Field(min_length=1)
    """Requirements, as `red circle left of blue square; green star above red circle`, or a sentence that says so."""
    model: str | None = Field(TRAINED_MODEL, max_length=64)
    """A model of `GET /v1/models`."""
    n: int | None = Field(1, ge=1)
    """How many images; each has a seed of its own."""
    size: str | None = Field("auto", max_length=16)
    """`auto`, or the one size that the models make."""
    response_format: Literal["b64_json", "url"] | None = "b64_json"
    """PNG in base64, or the same as a `data:` URL."""
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    """Image k is made with `seed + k`; without a seed, one is drawn and told in the answer."""
    turns: int | None = Field(None, ge=0)
    """At most so many turns of reflection and edit; fewer where all requirements hold before."""
    stream: bool | None = False
    """Whether each turn is sent as a server-sent event as soon as it is ready."""
    trace_images: bool | None = False
    """Whether the trace holds the image of each turn."""
    user: str | None = Field(None, max_length=256)
    """A name for the end user; it is not used."""

    @classmethod
    def limited(cls, config: GatewayConfig, image_size: int) -> type[ImageRequest]:
        """This request with the limits of an endpoint, so that its OpenAPI document tells them."""
        fields: dict[str, Any] = {
            "prompt": (str, _like(cls, "prompt", max_length=config.max_prompt_chars, min_length=1)),
            "n": (int | None, _like(cls, "n", ge=1, le=config.max_n)),
            "size": (Literal["auto", f"{image_size}x{image_size}"] | None, _like(cls, "size")),
            "turns": (int | None, _like(cls, "turns", ge=0, le=config.max_turns)),
        }
        return create_model(cls.__name__, __base__=cls, __doc__=cls.__doc__, **fields)


def _like(model: type[BaseModel], name: str, **limits: Any) -> Any:
    """A field with the default and the meaning of another."""
    field = model.model_fields[name]
    default = {} if field.is_required() else {"default": field.default}
    return Field(**default, description=field.description, **limits)


class GenerationRequest(ImageRequest):
    """Asks for new images that meet the requirements of a prompt."""


class EditRequest(ImageRequest):
    """Asks for an uploaded image to be edited until it meets the requirements of a prompt. The form's fields `image`
    and `image[]` hold the file: one square PNG, JPEG or WebP."""


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class RequirementText(_Answer):
    """One requirement of the prompt."""

    text: str
    subject: str
    predicate: str
    object: str


class TurnTrace(_Answer):
    """One image of an episode and the texts that led to it, null for the first image."""

    index: int
    """0 for the first image."""
    satisfaction: list[float]
    """For each requirement, the probability that it holds."""
    reward: float
    """The fraction of requirements that hold."""
    request: str | None
    """What the Actor was asked."""
    answer: str | None
    """What the Actor answered."""
    reflection: str | None
    """What the Actor saw to be wrong."""
    edit_prompt: str | None
    """What the Inverse Diffuser was told to change."""
    seed: int | None
    """The seed of the drawing or the edit."""
    kept: bool
    """False where the edit made nothing better, so that the next turn starts from the image before."""
    b64_json: str | None = None
    """The image as PNG in base64, where `trace_images` is true."""


class Trace(_Answer):
    """How an image came to be."""

    model: str
    seed: int
    requirements: list[RequirementText]
    satisfaction: list[float]
    """For each requirement, the probability that it holds in the image that is answered."""
    satisfied: bool
    """Whether all requirements hold."""
    turns: list[TurnTrace]
    versions: dict[str, int]
    """The one version of each policy that made all of it."""
    seconds: dict[str, float]
    """Seconds by phase: wait, draw, check, reflect, edit."""


class ImageItem(_Answer):
    """One image: `b64_json` or `url`, as `response_format` says."""

    b64_json: str | None = None
    url: str | None = None
    rlrig: Trace


class ImagesResponse(_Answer):
    """The images, in the order of their seeds."""

    created: int
    """Unix seconds."""
    data: list[ImageItem]
    output_format: Literal["png"]
    size: str


class TurnEvent(TurnTrace):
    """Server-sent event for one image of an episode."""

    type: Literal["image_generation.turn", "image_edit.turn"]
    item: int
    """Which of the `n` images this belongs to."""
    b64_json: str
    """The image as PNG in base64."""
    requirements: list[str]
    """The texts of the requirements, in the order of `satisfaction`."""


class CompletedEvent(_Answer):
    """Server-sent event for the end of one episode."""

    type: Literal["image_generation.completed", "image_edit.completed"]
    item: int
    b64_json: str
    """The image that the episode ends with, as PNG in base64."""
    created_at: int
    """Unix seconds."""
    output_format: Literal["png"]
    background: Literal["opaque"]
    size: str
    rlrig: Trace


class NotUnderstoodText(_Answer):
    """Words of a prompt that are no requirement."""

    text: str
    reason: str


class ErrorBody(_Answer):
    """What is wrong, and what to do about it."""

    message: str
    type: str
    param: str | None
    """The field of the request that is at fault."""
    code: str | None
    understood: list[str] | None = None
    """Of a prompt that cannot be read: the requirements that were."""
    not_understood: list[NotUnderstoodText] | None = None
    """Of a prompt that cannot be read: the words that are no requirement, and why."""


class ErrorResponse(_Answer):
    """Any answer of status 400 or above."""

    error: ErrorBody


class ModelCard(_Answer):
    """A model and the version of each policy in it."""

    id: str
    object: Literal["model"]
    created: int
    """When these versions were put in, in Unix seconds."""
    owned_by: Literal["rlrig"]
    versions: dict[str, int]


class ModelList(_Answer):
    """The models that a request may name."""

    object: Literal["list"]
    data: list[ModelCard]


class Health(_Answer):
    """The endpoint's process answers."""

    status: Literal["ok"]


class Readiness(_Answer):
    """Whether images can be made now."""

    ready: bool
    roles: dict[str, str]
    """By role: `ready`, or why it is not (told to those only who bring the token)."""
