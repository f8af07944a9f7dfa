"""Puts what the service made into the bodies of OpenAI's Images API."""

from __future__ import annotations

import base64
import time
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from rewards.satisfaction import reward_of
from rollout.state import Frame, unmet
from scenes.pictures.size import PictureSize
from scenes.png import data_uri, encode_png
from scenes.vocabulary.forms import RequirementText
from studio.api.types import CompletedEvent, ImageItem, Trace, TurnEvent, TurnTrace, UnreadAnswer
from studio.episodes.service import Ask, Finished

EventKind = Literal["image_generation", "image_edit"]


def image_item(ask: Ask, end: Finished, response_format: str, trace_images: bool, ignored: list[str]) -> dict[str, Any]:
    """One entry of `data`. Encodes images, so it belongs into a thread."""
    image = end.episode.answer.image
    fields = {"url": data_uri(encode_png(image))} if response_format == "url" else {"b64_json": _base64_png(image)}
    return ImageItem(**fields, rlrig=_trace(ask, end, trace_images, ignored)).model_dump(exclude_unset=True)


def images_response(items: list[dict[str, Any]], size: PictureSize) -> dict[str, Any]:
    """The body of an answer that holds all images."""
    return {"created": int(time.time()), "data": items, "output_format": "png", "size": str(size)}


def turn_event(kind: EventKind, item: int, ask: Ask, index: int, frame: Frame) -> dict[str, Any]:
    """The data of the event for one frame. Encodes an image, so it belongs into a thread."""
    return TurnEvent(
        type=f"{kind}.turn",
        item=item,
        requirements=[requirement.text for requirement in ask.graph.requirements],
        **_turn(index, frame),
        b64_json=_base64_png(frame.image),
    ).model_dump()


def completed_event(
    kind: EventKind, item: int, ask: Ask, end: Finished, size: PictureSize, trace_images: bool, ignored: list[str]
) -> dict[str, Any]:
    """The data of the event for the end of one episode. Encodes images, so it belongs into a thread."""
    return CompletedEvent(
        type=f"{kind}.completed",
        item=item,
        b64_json=_base64_png(end.episode.answer.image),
        created_at=int(time.time()),
        output_format="png",
        background="opaque",
        size=str(size),
        rlrig=_trace(ask, end, trace_images, ignored),
    ).model_dump(exclude_unset=True)


def _trace(ask: Ask, end: Finished, images: bool, ignored: list[str]) -> Trace:
    satisfaction = [float(p) for p in end.episode.answer.satisfaction]
    turns = [
        TurnTrace(**_turn(index, frame), **({"b64_json": _base64_png(frame.image)} if images else {}))
        for index, frame in enumerate(end.episode.frames)
    ]
    return Trace(
        model=ask.model,
        seed=ask.seed,
        requirements=[RequirementText.of(one) for one in ask.graph.requirements],
        satisfaction=satisfaction,
        satisfied=not unmet(ask.graph, satisfaction) if satisfaction else None,
        turns=turns,
        unread=[UnreadAnswer(**asdict(one)) for one in end.episode.unread],
        versions=end.versions,
        seconds=end.seconds,
        ignored=ignored,
    )


def _turn(index: int, frame: Frame) -> dict[str, Any]:
    return {
        "index": index,
        "satisfaction": [float(p) for p in frame.satisfaction],
        "reward": reward_of(frame.satisfaction, "hard") if frame.satisfaction else None,
        "request": frame.request,
        "answer": frame.answer,
        "reflection": frame.reflection,
        "edit_prompt": frame.edit_prompt,
        "seed": frame.seed,
        "kept": frame.kept,
    }


def _base64_png(image: np.ndarray) -> str:
    return base64.b64encode(encode_png(image)).decode("ascii")
