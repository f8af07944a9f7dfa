"""The bodies of answers: OpenAI's Images API, and the trace of the turns beside each image."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from scenes.vocabulary.forms import RequirementText


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class TurnTrace(_Answer):
    """One image of an episode and the texts that led to it, null for the first image."""

    index: int
    """0 for the first image."""
    satisfaction: list[float]
    """For each requirement, the probability that it holds."""
    reward: float | None
    """The fraction of requirements that hold; null where none were asked for."""
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


class UnreadAnswer(_Answer):
    """An answer of the Actor that could not be read, so that no edit followed."""

    turn: int
    """The turn that it used up, counted from 1."""
    request: str
    """What the Actor was asked."""
    answer: str
    """What the Actor answered."""
    reason: str
    """Why it could not be read, or that it was cut off."""


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
    satisfied: bool | None
    """Whether all requirements hold; null where the prompt was an instruction to the editor."""
    turns: list[TurnTrace]
    """The images in the order in which they were made."""
    unread: list[UnreadAnswer]
    """The answers that no edit followed."""
    versions: dict[str, int]
    """The one version of each policy that made all of it."""
    seconds: dict[str, float]
    """Seconds by phase: wait, draw, check, reflect, edit."""
    ignored: list[str]
    """The fields of the request that changed nothing."""


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


class RequirementsResponse(_Answer):
    """What a prompt requires of an image."""

    prompt: str
    """All of it, as a prompt that can be drawn."""
    requirements: list[RequirementText]
    """Each with its kind."""
    unused: list[NotUnderstoodText]
    """What else the Actor's VLM made of the prompt, and why it cannot be required."""


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
    relations: list[str] | None
    """The only relations that requirements may use; null where they may use any."""


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
