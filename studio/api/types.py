"""The bodies of requests and answers: OpenAI's Images API, and the trace of the turns beside each image."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from serving.gateway.gateway_config import GatewayConfig
from serving.gateway.requirements_reader import EXAMPLE
from serving.gateway.service import TRAINED_MODEL

MAX_SEED = 2**53 - 1  # the largest whole number that JavaScript keeps exactly


def _whole(value: Any) -> Any:
    """JSON's `7.0` is a whole number too; of a form's texts, digits are one, and `+7`, `1_000` or ` 7` are not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+(\.0+)?", value):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    return value


def _plain(value: Any) -> Any:
    """Of a form's texts, only `true` and `false` are truth values."""
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "Input should be a valid boolean, true or false")
    return value


WHOLE = BeforeValidator(_whole)
Truth = Annotated[bool, BeforeValidator(_plain)]


class ImageRequest(BaseModel):
    """Asks for images that meet the requirements of a prompt."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    prompt: str = Field(min_length=1, examples=[EXAMPLE])
    """Requirements, as `red circle left of blue square; green star above red circle`, or a sentence that says so."""
    model: str | None = Field(TRAINED_MODEL, max_length=64)
    """A model of `GET /v1/models`."""
    n: Annotated[int, Field(ge=1), WHOLE] | None = 1
    """How many images; each has a seed of its own."""
    size: str | None = Field("auto", max_length=16)
    """`auto`, or the one size that the models make."""
    response_format: Literal["b64_json", "url"] | None = "b64_json"
    """PNG in base64, or the same as a `data:` URL."""
    seed: Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE] | None = None
    """Image k is made with `seed + k`; without a seed, one is drawn and told in the answer."""
    turns: Annotated[int, Field(ge=0), WHOLE] | None = None
    """At most so many turns of reflection and edit; fewer where all requirements hold before."""
    stream: Truth | None = False
    """Whether each turn is sent as a server-sent event as soon as it is ready."""
    trace_images: Truth | None = False
    """Whether the trace holds the image of each turn."""
    user: str | None = Field(None, max_length=256)
    """A name for the end user; it is not used."""

    @classmethod
    def limited(cls, config: GatewayConfig, image_size: int) -> type[ImageRequest]:
        """This request with the limits of an endpoint, so that its OpenAPI document tells them."""
        fields: dict[str, Any] = {
            "prompt": Annotated[str, Field(min_length=1, max_length=config.max_prompt_chars)],
            "n": Annotated[int, Field(ge=1, le=config.max_n), WHOLE] | None,
            "size": Literal["auto", f"{image_size}x{image_size}"] | None,
            "turns": Annotated[int, Field(ge=0, le=config.max_turns), WHOLE] | None,
        }
        fields = {name: (kind, _unlimited(cls.model_fields[name])) for name, kind in fields.items()}
        return create_model(cls.__name__, __base__=cls, __doc__=cls.__doc__, **fields)


def _unlimited(field: FieldInfo) -> Any:
    """A field with the default and the meaning of another."""
    default = {} if field.is_required() else {"default": field.default}
    return Field(**default, description=field.description, examples=field.examples)


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
    """The three parts in words."""
    subject: str
    """The item that is placed."""
    predicate: str
    """Where it is placed."""
    object: str
    """The item that it is placed by."""


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
    """The model that was asked for."""
    seed: int
    """The seed of this image."""
    requirements: list[RequirementText]
    """What the prompt was read as."""
    satisfaction: list[float]
    """For each requirement, the probability that it holds in the image that is answered."""
    satisfied: bool
    """Whether all requirements hold."""
    turns: list[TurnTrace]
    """The images in the order in which they were made."""
    versions: dict[str, int]
    """The one version of each policy that made all of it."""
    seconds: dict[str, float]
    """Seconds by phase: wait, draw, check, reflect, edit."""


class ImageItem(_Answer):
    """One image: `b64_json` or `url`, as `response_format` says."""

    b64_json: str | None = None
    """The image as PNG in base64."""
    url: str | None = None
    """The image as a `data:` URL."""
    rlrig: Trace
    """How it came to be."""


class ImagesResponse(_Answer):
    """The images, in the order of their seeds."""

    created: int
    """Unix seconds."""
    data: list[ImageItem]
    """One entry for each of the `n` images."""
    output_format: Literal["png"]
    """The format of the images."""
    size: str
    """Width and height in pixels."""


class TurnEvent(TurnTrace):
    """Server-sent event for one image of an episode."""

    type: Literal["image_generation.turn", "image_edit.turn"]
    """The name of the event."""
    item: int
    """Which of the `n` images this belongs to."""
    b64_json: str
    """The image as PNG in base64."""
    requirements: list[str]
    """The texts of the requirements, in the order of `satisfaction`."""


class CompletedEvent(_Answer):
    """Server-sent event for the end of one episode."""

    type: Literal["image_generation.completed", "image_edit.completed"]
    """The name of the event."""
    item: int
    """Which of the `n` images this is."""
    b64_json: str
    """The image that the episode ends with, as PNG in base64."""
    created_at: int
    """Unix seconds."""
    output_format: Literal["png"]
    """The format of the image."""
    background: Literal["opaque"]
    """The image has no transparent parts."""
    size: str
    """Width and height in pixels."""
    rlrig: Trace
    """How it came to be."""


class NotUnderstoodText(_Answer):
    """Words of a prompt that are no requirement."""

    text: str
    """The words."""
    reason: str
    """Why they are no requirement."""


class ErrorBody(_Answer):
    """What is wrong, and what to do about it."""

    message: str
    """The same in words."""
    type: str
    """The kind of error, as OpenAI names it."""
    param: str | None
    """The field of the request that is at fault."""
    code: str | None
    """A name for the error that a program can compare."""
    understood: list[str] | None = None
    """Of a prompt that cannot be read: the requirements that were."""
    not_understood: list[NotUnderstoodText] | None = None
    """Of a prompt that cannot be read: the words that are no requirement, and why."""


class ErrorResponse(_Answer):
    """Any answer of status 400 or above."""

    error: ErrorBody
    """The error."""


class ModelCard(_Answer):
    """A model and the version of each policy in it."""

    id: str
    """What a request calls it."""
    object: Literal["model"]
    """The kind of thing this is."""
    created: int
    """When these versions were put in, in Unix seconds."""
    owned_by: Literal["rlrig"]
    """Who serves it."""
    versions: dict[str, int]
    """The version of each policy."""


class ModelList(_Answer):
    """The models that a request may name."""

    object: Literal["list"]
    """The kind of thing this is."""
    data: list[ModelCard]
    """The models."""


class Health(_Answer):
    """The endpoint's process answers."""

    status: Literal["ok"]
    """Nothing else is answered."""


class Readiness(_Answer):
    """Whether images can be made now."""

    ready: bool
    """Whether all roles can answer."""
    roles: dict[str, str]
    """By role: `ready`, or why it is not (told to those only who bring the token)."""
