"""The bodies of requests: OpenAI's Images API, with fields of this system's own."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from scenes.pictures.size import PictureSize
from scenes.requirements_reader import EXAMPLE
from scenes.vocabulary.forms import Wanted
from scenes.vocabulary.plain_prompt import LONGEST_TEXT
from studio.config import GatewayConfig
from studio.episodes.service import TRAINED_MODEL

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


def _parsed(value: Any) -> Any:
    """A form has a list as a text of JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise PydanticCustomError("list_type", "Input should be a valid list, as JSON") from None


WHOLE = BeforeValidator(_whole)
PARSED = BeforeValidator(_parsed)
Truth = Annotated[bool, BeforeValidator(_plain)]
Word = Annotated[str, Field(max_length=64)]
SIZE = "^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"
# Fields of OpenAI's API that mean nothing here. Clients that send them to every model get their image all the same.
IGNORED = ("output_format", "output_compression", "partial_images", "quality", "style", "background", "moderation",
           "input_fidelity", "user")  # fmt: skip


class ImageRequest(BaseModel):
    """Asks for images that meet the requirements of a prompt."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    prompt: str = Field(min_length=1)
    """Requirements, as `red circle left of blue square; green star above red circle`, or a sentence that says so. With
    `requirements` it is not read, and `ignored` names it."""
    requirements: Annotated[list[Wanted], Field(min_length=1), PARSED] | None = None
    """The requirements one by one, instead of a text; in a form, the same list as JSON."""
    model: str | None = Field(TRAINED_MODEL, max_length=64)
    """A model of `GET /v1/models`."""
    n: Annotated[int, Field(ge=1), WHOLE] | None = 1
    """How many images; each has a seed of its own."""
    size: Annotated[str, Field(max_length=11, pattern=SIZE)] | None = "auto"
    """`auto`, or width and height; the models make one size, which the answer tells. With `gateway.strict`, another one
    is refused."""
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
    output_format: Literal["png"] | None = None
    """The format of the images."""
    output_compression: Annotated[int, Field(ge=0, le=100), WHOLE] | None = None
    """Ignored, and named in the answer, as the fields below are."""
    partial_images: Annotated[int, Field(ge=0, le=3), WHOLE] | None = None
    """Ignored; a stream sends each turn."""
    quality: Word | None = None
    """Ignored."""
    style: Word | None = None
    """Ignored."""
    background: Word | None = None
    """Ignored; images have no transparent parts."""
    moderation: Word | None = None
    """Ignored."""
    input_fidelity: Word | None = None
    """Ignored."""
    user: str | None = Field(None, max_length=256)
    """Ignored; a name for the end user."""

    def ignored(self, size: PictureSize) -> list[str]:
        """The fields that were given and change nothing."""
        given = [name for name in IGNORED if getattr(self, name) is not None]
        given = ["prompt", *given] if self.requirements else given
        return given if self.size in (None, "auto", str(size)) else [*given, "size"]

    @classmethod
    def limited(cls, config: GatewayConfig, size: PictureSize, example: str = EXAMPLE) -> type[ImageRequest]:
        """This request with the limits of an endpoint, so that its OpenAPI document tells them."""
        most = config.max_requirements
        fields: dict[str, Any] = {
            "prompt": Annotated[str, Field(min_length=1, max_length=config.max_prompt_chars)],
            "requirements": Annotated[list[Wanted], Field(min_length=1, max_length=most), PARSED] | None,
            "n": Annotated[int, Field(ge=1, le=config.max_n), WHOLE] | None,
            "turns": Annotated[int, Field(ge=0, le=config.max_turns), WHOLE] | None,
        }
        if config.strict:
            fields["size"] = Literal["auto", str(size)] | None
        examples = {"prompt": [example]}
        fields = {k: (kind, _unlimited(cls.model_fields[k], examples.get(k))) for k, kind in fields.items()}
        as_described = {"use_attribute_docstrings": False}  # else Pydantic reads the source of all modules on the stack
        return create_model(cls.__name__, __base__=cls, __doc__=cls.__doc__, __cls_kwargs__=as_described, **fields)


def _unlimited(field: FieldInfo, examples: list[Any] | None) -> Any:
    """A field with the default and the meaning of another."""
    default = {} if field.is_required() else {"default": field.default}
    return Field(**default, description=field.description, examples=examples)


class GenerationRequest(ImageRequest):
    """Asks for new images that meet the requirements of a prompt."""


class EditRequest(ImageRequest):
    """Asks for an uploaded image to be edited until it meets the requirements of a prompt. The form's fields `image`
    and `image[]` hold the file: one PNG, JPEG or WebP of the models' ratio, a square where they make squares."""


class PromptRequest(BaseModel):
    """Asks what a prompt requires of an image."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    prompt: str = Field(min_length=1, max_length=LONGEST_TEXT)
    """An image in any words."""
