"""`POST /v1/images/generations` and `/v1/images/edits`: OpenAI's Images API."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from scenes.scene_graph import SceneGraph
from serving.gateway.access import require, slot
from serving.gateway.api_errors import ApiError, from_prompt, from_service, internal, shown
from serving.gateway.api_types import (
    MAX_SEED,
    CompletedEvent,
    EditRequest,
    ErrorResponse,
    GenerationRequest,
    ImageRequest,
    ImagesResponse,
    TurnEvent,
)
from serving.gateway.body_reader import read_form, read_json
from serving.gateway.episode_batch import EpisodeBatch, ItemEvent
from serving.gateway.event_stream import DONE, KEEP_ALIVE, EventStream, server_sent, until_gone
from serving.gateway.failure_log import log_failure, request_id
from serving.gateway.gateway_config import GatewayConfig
from serving.gateway.gateway_metrics import GatewayMetrics
from serving.gateway.image_answers import EventKind, completed_event, image_item, images_response, turn_event
from serving.gateway.requirements_reader import NotUnderstood, read_requirements
from serving.gateway.service import TRAINED_MODEL, Ask, Finished, Service, ServiceUnavailable, TurnTimeout
from serving.gateway.uploads import read_upload

PromptParser = Callable[[str], Awaitable[str]]
DEFAULT_TURNS = 2
_STATUSES = {
    400: "A field is unknown, missing or out of its range; `param` names it.",
    401: "The bearer token is missing or wrong.",
    403: "Without a token, only this machine is served.",
    404: "The model does not exist.",
    408: "The body did not come in time.",
    413: "The body, the file or the image is too large.",
    415: "The body or the file is of another kind.",
    422: "The prompt cannot be read; `understood` and `not_understood` say what of it can be.",
    429: "Too many requests of this client are under way.",
    500: "The endpoint failed; its log names the place under the request's id.",
    503: "The models cannot answer now; ask again after `Retry-After` seconds.",
    504: "A turn took too long.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": text} for status, text in _STATUSES.items()
}


def _event_schema(name: dict[str, Any], data: type[BaseModel]) -> dict[str, Any]:
    """One kind of server-sent event, whose data is JSON of this type."""
    content = {"$ref": f"#/components/schemas/{data.__name__}"}
    text = {"type": "string", "contentMediaType": "application/json", "contentSchema": content}
    return {"type": "object", "properties": {"event": name, "data": text}, "required": ["event", "data"]}


_EVENTS = {
    "oneOf": [
        _event_schema({"enum": ["image_generation.turn", "image_edit.turn"]}, TurnEvent),
        _event_schema({"enum": ["image_generation.completed", "image_edit.completed"]}, CompletedEvent),
        _event_schema({"const": "error"}, ErrorResponse),
        {"type": "object", "properties": {"data": {"const": "[DONE]"}}, "required": ["data"]},
    ]
}
_ANSWER = {
    "model": ImagesResponse,
    "description": "The images; with `stream: true`, server-sent events: a `TurnEvent` for each image as soon as it "
    "is ready, a `CompletedEvent` for each of the `n` episodes, then `data: [DONE]`. A failure after the first event "
    "is an event `error` whose data is an `ErrorResponse`.",
    # OpenAPI has had a word for the items of a stream since 3.2; readers of 3.1 pass over it.
    "content": {"text/event-stream": {"itemSchema": _EVENTS}},
}


@dataclass(frozen=True)
class ImagesApi:
    """Answers the requests for images of one app. `parse_prompt`, where there is one, turns a prompt that cannot be
    read into one of triples."""

    service: Service
    config: GatewayConfig
    metrics: GatewayMetrics
    parse_prompt: PromptParser | None = None

    def router(self) -> APIRouter:
        """The two routes; each needs access and a slot of its client."""
        size = self.service.image_size
        generation = GenerationRequest.limited(self.config, size)
        edit = EditRequest.limited(self.config, size)
        router = APIRouter(
            prefix="/v1/images",
            tags=["images"],
            dependencies=[Depends(require), Depends(slot)],
            responses={**ERRORS, 200: _ANSWER},
        )

        @router.post("/generations", summary="Make images", openapi_extra=_body("application/json", generation))
        async def generations(request: Request) -> Response:
            """Makes images and edits them in turns until they meet the requirements of the prompt."""
            body = await read_json(request, generation, self.config)
            return await self._answer(request, body, None, "image_generation")

        @router.post("/edits", summary="Edit an image", openapi_extra=_body("multipart/form-data", edit, file=True))
        async def edits(request: Request) -> Response:
            """Edits an uploaded image in turns until it meets the requirements of the prompt."""
            body, data = await read_form(request, edit, self.config)
            limits = (self.config.max_upload_bytes, self.config.max_pixels, size)
            image = await asyncio.to_thread(read_upload, data, *limits)
            return await self._answer(request, body, image, "image_edit")

        return router

    async def _answer(
        self, request: Request, body: ImageRequest, image: np.ndarray | None, kind: EventKind
    ) -> Response:
        asks = await self._asks(body, image)
        batch = EpisodeBatch(self.service, asks, self.metrics, self.config.turn_deadline_s)
        try:
            if not body.stream:
                work = self._whole(batch, body.response_format or "b64_json", bool(body.trace_images))
                return _json(await until_gone(request.receive, work))
            # A stream waits for its first event, so that what fails at once is a plain error with its own status.
            first = await until_gone(request.receive, batch.next(self.config.keep_alive_s))
        except BaseException:
            await batch.close()
            raise
        finally:
            if not body.stream:
                await batch.close()
        events = self._events(batch, first, kind, bool(body.trace_images), request_id(request.scope))
        return EventStream(events, batch.close)

    async def _asks(self, body: ImageRequest, image: np.ndarray | None) -> list[Ask]:
        """One `Ask` for each of the `n` images.

        Raises:
            ApiError: 404 for a model that does not exist, 422 for a prompt that cannot be read.
        """
        model = body.model or TRAINED_MODEL
        known = [one.id for one in self.service.models()]
        if model not in known:
            raise ApiError(
                404,
                f"model: {shown(model)} does not exist; the models are {', '.join(known)}",
                param="model",
                code="model_not_found",
            )
        graph = await self._graph(body.prompt)
        turns = body.turns if body.turns is not None else self.config.default_turns
        turns = min(DEFAULT_TURNS if turns is None else turns, self.config.max_turns)
        seed = secrets.randbelow(2**32) if body.seed is None else body.seed
        seeds = [(seed + item) % (MAX_SEED + 1) for item in range(body.n or 1)]
        return [Ask(graph, one, turns, model, image) for one in seeds]

    async def _graph(self, prompt: str) -> SceneGraph:
        try:
            graph = read_requirements(prompt, self.service.predicates)
        except NotUnderstood as error:
            refused = from_prompt(error)
            if self.parse_prompt is None:
                raise refused from error
            try:
                graph = read_requirements(await self.parse_prompt(prompt), self.service.predicates)
            except NotUnderstood:  # the client's own words say more to it than those of the parser
                raise refused from error
        if (count := len(graph.requirements)) > self.config.max_requirements:
            raise ApiError(
                400,
                f"prompt: it has {count} requirements; ask for at most {self.config.max_requirements}",
                param="prompt",
                code="too_many_requirements",
            )
        return graph

    async def _whole(self, batch: EpisodeBatch, response_format: str, trace_images: bool) -> dict[str, Any]:
        """The body with all images.

        Raises:
            ServiceUnavailable: as the service raises it; `TurnTimeout` too.
        """
        ends: dict[int, Finished] = {}
        while batch.open:
            came = await batch.next()
            if came is not None and isinstance(came.event, Finished):
                ends[came.item] = came.event
        items = [
            await asyncio.to_thread(image_item, ask, ends[item], response_format, trace_images)
            for item, ask in enumerate(batch.asks)
        ]
        return images_response(items, self.service.image_size)

    async def _events(
        self, batch: EpisodeBatch, first: ItemEvent | None, kind: EventKind, trace_images: bool, id_: str
    ) -> AsyncGenerator[bytes, None]:
        """The events of a stream; a failure is the last of them."""
        came = first
        try:
            while True:
                yield (
                    KEEP_ALIVE
                    if came is None
                    else await asyncio.to_thread(self._event, batch, came, kind, trace_images)
                )
                if not batch.open:
                    break
                came = await batch.next(self.config.keep_alive_s)
        except (ServiceUnavailable, TurnTimeout) as error:
            yield server_sent("error", from_service(error).body)
            return
        except Exception as error:  # the status has been sent; the client must still learn that this is no whole answer
            log_failure(id_, error)
            yield server_sent("error", internal(id_).body)
            return
        yield DONE

    def _event(self, batch: EpisodeBatch, came: ItemEvent, kind: EventKind, trace_images: bool) -> bytes:
        item, event = came
        ask = batch.asks[item]
        if isinstance(event, Finished):
            data = completed_event(kind, item, ask, event, self.service.image_size, trace_images)
        else:
            data = turn_event(kind, item, ask, event.index, event.frame)
        return server_sent(data["type"], data)


def _json(body: dict[str, Any]) -> Response:
    # Escapes all but ASCII: a model's text may hold characters that UTF-8 has no bytes for.
    text = json.dumps(body, ensure_ascii=True, allow_nan=False)
    return Response(text, headers={"Cache-Control": "no-store"}, media_type="application/json")


def _body(media_type: str, model: type[ImageRequest], file: bool = False) -> dict[str, Any]:
    """A request's body for the OpenAPI document; it is read by hand, after the access check and up to a limit."""
    schema = model.model_json_schema()
    content: dict[str, Any] = {"schema": schema}
    if file:
        for field in schema["properties"].values():  # a form has no null; a field is left out instead
            if "anyOf" in field:
                field |= next(kind for kind in field.pop("anyOf") if kind != {"type": "null"})
        schema["properties"]["image"] = {"type": "string", "format": "binary", "description": "PNG, JPEG or WebP."}
        schema["required"] = [*schema["required"], "image"]
        content["encoding"] = {"image": {"contentType": "image/png, image/jpeg, image/webp"}}
    return {"requestBody": {"required": True, "content": {media_type: content}}}
