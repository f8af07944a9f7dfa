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

from scenes.requirements_reader import Impossible, NotUnderstood
from scenes.scene_graph import SceneGraph
from scenes.vocabulary.vocabulary import FOUR_RELATIONS, Vocabulary
from studio.access import require, slot
from studio.api.body_reader import read_form, read_json
from studio.api.event_stream import DONE, KEEP_ALIVE, EventStream, server_sent, until_gone
from studio.api.failure_log import log_failure, request_id
from studio.api.image_answers import EventKind, completed_event, image_item, images_response, turn_event
from studio.api.requests import MAX_SEED, EditRequest, GenerationRequest, ImageRequest
from studio.api.types import CompletedEvent, ErrorResponse, ImagesResponse, TurnEvent
from studio.api.uploads import decoder_for, late_refusals, read_upload
from studio.config import GatewayConfig
from studio.episodes.batch import EpisodeBatch, ItemEvent
from studio.episodes.instruction import NOTHING_REQUIRED, is_instruction
from studio.episodes.metrics import GatewayMetrics
from studio.episodes.service import TRAINED_MODEL, Ask, Finished, Service, ServiceUnavailable, TurnTimeout
from studio.errors import ApiError, from_prompt, from_service, internal, shown

PromptParser = Callable[[str], Awaitable[str]]
Refusal = Callable[[SceneGraph, bool], str | None]
DEFAULT_TURNS = 2
REFERENCE = "#/components/schemas/{model}"
_STATUSES = {
    400: "A field is unknown, missing or out of its range, as `param` names it; or a header is malformed.",
    401: "The bearer token is missing or wrong.",
    403: "Without a token, only this machine is served.",
    404: "The model does not exist.",
    408: "The body did not come in time.",
    413: "The body, the file or the image is too large.",
    414: "The path, a name in it or the query is too long.",
    415: "The body or the file is of another kind.",
    422: "The prompt, or a requirement, cannot be read; `understood` and `not_understood` say what of it can be.",
    429: "Too many requests of this client are under way, or too many uploads wait to be decoded.",
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
    read into one of triples; `refusal` says why the models cannot take a scene graph, that is
    drawn or not; `vocabulary` is what can be asked for."""

    service: Service
    config: GatewayConfig
    metrics: GatewayMetrics
    parse_prompt: PromptParser | None = None
    refusal: Refusal | None = None
    vocabulary: Vocabulary = FOUR_RELATIONS

    def router(self) -> APIRouter:
        """The two routes; each needs access and a slot of its client."""
        size = self.service.image_size
        generation = GenerationRequest.limited(self.config, size, self.vocabulary.example)
        edit = EditRequest.limited(self.config, size, self.vocabulary.example)
        router = APIRouter(
            prefix="/v1/images",
            tags=["images"],
            dependencies=[Depends(require), Depends(slot)],
            responses={**ERRORS, 200: _ANSWER},
        )

        @router.post("/generations", summary="Make images", openapi_extra=body_schema("application/json", generation))
        async def generations(request: Request) -> Response:
            """Makes images and edits them in turns until they meet the requirements of the prompt."""
            body = await read_json(request, generation, self.config)
            return await self._answer(request, body, None, "image_generation")

        form = body_schema("multipart/form-data", edit, file=True)

        @router.post("/edits", summary="Edit an image", openapi_extra=form)
        async def edits(request: Request) -> Response:
            """Edits an uploaded image in turns until it meets the requirements of the prompt, or once as it says."""
            async with late_refusals(self.config.refusal_wait_s):
                body, data = await read_form(request, edit, self.config)
                image = await read_upload(data, decoder_for(self.config), self.config.max_upload_bytes, size)
            return await self._answer(request, body, image, "image_edit")

        return router

    async def _answer(
        self, request: Request, body: ImageRequest, image: np.ndarray | None, kind: EventKind
    ) -> Response:
        asks = await self._asks(body, image)
        batch = EpisodeBatch(self.service, asks, self.metrics, self.config.turn_deadline_s)
        try:
            if not body.stream:
                work = self._whole(batch, body)
                return _json(await until_gone(request.receive, work))
            # A stream waits for its first event, so that what fails at once is a plain error with its own status.
            first = await until_gone(request.receive, batch.next(self.config.keep_alive_s))
        except BaseException:
            await batch.close()
            raise
        finally:
            if not body.stream:
                await batch.close()
        events = self._events(batch, first, kind, body, request_id(request.scope))
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
        edited = image is not None and not body.requirements
        instruction = body.prompt if edited and is_instruction(body.prompt, self.vocabulary) else ""
        graph = NOTHING_REQUIRED if instruction else await self._graph(body, image is None)
        turns = body.turns if body.turns is not None else self.config.default_turns
        turns = min(DEFAULT_TURNS if turns is None else turns, self.config.max_turns)
        seed = secrets.randbelow(2**32) if body.seed is None else body.seed
        seeds = [(seed + item) % (MAX_SEED + 1) for item in range(body.n or 1)]
        return [Ask(graph, one, turns, model, image, instruction) for one in seeds]

    async def _graph(self, body: ImageRequest, drawn: bool) -> SceneGraph:
        field = "requirements" if body.requirements else "prompt"
        try:
            graph = await self._read(body)
        except Impossible as error:
            raise ApiError(400, str(error), param=field, code="impossible_prompt") from error
        if (count := len(graph.requirements)) > self.config.max_requirements:
            raise ApiError(
                400,
                f"{field}: it has {count} requirements; ask for at most {self.config.max_requirements}",
                param=field,
                code="too_many_requirements",
            )
        if self.refusal is not None and (problem := self.refusal(graph, drawn)):
            raise ApiError(400, f"{field}: {problem}", param=field, code="prompt_beyond_models")
        return graph

    async def _read(self, body: ImageRequest) -> SceneGraph:
        """The scene graph of a request; the parser's words count where those of the client's prompt cannot be read."""
        try:
            if body.requirements:
                return self.vocabulary.graph([one.part for one in body.requirements])
            return self.vocabulary.read(body.prompt)
        except NotUnderstood as error:
            if self.parse_prompt is None or body.requirements:
                raise from_prompt(error) from error
            try:
                return self.vocabulary.read(await self.parse_prompt(body.prompt))
            except NotUnderstood:  # the client's own words say more to it than those of the parser
                raise from_prompt(error) from error

    async def _whole(self, batch: EpisodeBatch, body: ImageRequest) -> dict[str, Any]:
        """The body with all images.

        Raises:
            ServiceUnavailable: as the service raises it; `TurnTimeout` too.
        """
        ends: dict[int, Finished] = {}
        while batch.open:
            came = await batch.next()
            if came is not None and isinstance(came.event, Finished):
                ends[came.item] = came.event
        size = self.service.image_size
        options = (body.response_format or "b64_json", bool(body.trace_images), body.ignored(size))
        items = [await asyncio.to_thread(image_item, ask, ends[item], *options) for item, ask in enumerate(batch.asks)]
        return images_response(items, size)

    async def _events(
        self, batch: EpisodeBatch, first: ItemEvent | None, kind: EventKind, body: ImageRequest, id_: str
    ) -> AsyncGenerator[bytes, None]:
        """The events of a stream; a failure is the last of them."""
        came = first
        try:
            while True:
                yield (KEEP_ALIVE if came is None else await asyncio.to_thread(self._event, batch, came, kind, body))
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

    def _event(self, batch: EpisodeBatch, came: ItemEvent, kind: EventKind, body: ImageRequest) -> bytes:
        item, event = came
        ask, size = batch.asks[item], self.service.image_size
        if isinstance(event, Finished):
            data = completed_event(kind, item, ask, event, size, bool(body.trace_images), body.ignored(size))
        else:
            data = turn_event(kind, item, ask, event.index, event.frame)
        return server_sent(data["type"], data)


def _json(body: dict[str, Any]) -> Response:
    # Escapes all but ASCII: a model's text may hold characters that UTF-8 has no bytes for.
    text = json.dumps(body, ensure_ascii=True, allow_nan=False)
    return Response(text, headers={"Cache-Control": "no-store"}, media_type="application/json")


def body_schema(media_type: str, model: type[BaseModel], file: bool = False) -> dict[str, Any]:
    """A request's body for the OpenAPI document; it is read by hand, after the access check and up to a limit."""
    schema = model.model_json_schema(ref_template=REFERENCE)
    schema.pop("$defs", None)  # the document has them in one place
    content: dict[str, Any] = {"schema": schema}
    if file:
        for field in schema["properties"].values():  # a form has no null; a field is left out instead
            if "anyOf" in field:
                field |= next(kind for kind in field.pop("anyOf") if kind != {"type": "null"})
        listed = schema["properties"]["requirements"]
        given = {"description": listed.pop("description"), "contentMediaType": "application/json"}
        schema["properties"]["requirements"] = {"type": "string", **given, "contentSchema": listed}
        schema["properties"]["image"] = {"type": "string", "format": "binary", "description": "PNG, JPEG or WebP."}
        schema["required"] = [*schema["required"], "image"]
        content["encoding"] = {"image": {"contentType": "image/png, image/jpeg, image/webp"}}
    return {"requestBody": {"required": True, "content": {media_type: content}}}
