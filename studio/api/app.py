"""The endpoint as an ASGI app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from scenes.vocabulary.forms import WantedRequirement, WantedText
from scenes.vocabulary.vocabulary import FOUR_RELATIONS, Vocabulary
from studio.access import Access
from studio.api.envelope import Envelope
from studio.api.images import REFERENCE, ImagesApi, PromptParser, Refusal
from studio.api.requirements import requirements_router
from studio.api.status import StatusApi
from studio.api.types import CompletedEvent, TurnEvent
from studio.config import GatewayConfig
from studio.episodes.metrics import GatewayMetrics
from studio.episodes.service import Service, ServiceUnavailable, TurnTimeout
from studio.errors import ApiError, from_service

_TITLE = "rlrig"
_DESCRIPTION = """\
Makes images that meet spatial requirements: the Diffuser draws, the Checker asks of each requirement whether it holds,
the Actor reflects on what does not, and the Inverse Diffuser edits, in turns. Compatible with OpenAI's Images API; what
led to an image stands beside it in `rlrig`."""


def make_app(
    service: Service,
    config: GatewayConfig,
    routers: Sequence[APIRouter] = (),
    *,
    token: str | None = None,
    parse_prompt: PromptParser | None = None,
    refusal: Refusal | None = None,
    vocabulary: Vocabulary = FOUR_RELATIONS,
) -> FastAPI:
    """The endpoint before a service.

    Args:
        routers: more routes, for example the pages; those of them that need the access check say so with
            `Depends(access.require)`.
        token: the bearer token; None takes the environment variable `config.token_env`, empty means none.
        parse_prompt: turns a prompt that cannot be read as requirements into triples that can.
        refusal: says why the models cannot take a scene graph, None where they can.
        vocabulary: what can be asked for.

    Raises:
        ValueError: the address needs a token and there is none, or the token is too short.
    """
    app = _Endpoint(
        title=_TITLE, description=_DESCRIPTION, version="1", docs_url=None, redoc_url=None, redirect_slashes=False
    )
    metrics = GatewayMetrics()
    guard(app, config, token, metrics)
    app.include_router(ImagesApi(service, config, metrics, parse_prompt, refusal, vocabulary).router())
    app.include_router(requirements_router(service, config, vocabulary))
    app.include_router(StatusApi(service, app.state.access, metrics, vocabulary.predicates).router())
    for router in routers:
        app.include_router(router)
    return app


def guard(app: FastAPI, config: GatewayConfig, token: str | None, metrics: GatewayMetrics) -> None:
    """Give an app its access check, its answers to errors, and what surrounds every answer.

    Raises:
        ValueError: as `make_app`.
    """
    app.state.access = Access(config, token)
    app.exception_handler(ApiError)(_api_error)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(ServiceUnavailable)(_service_error)
    app.exception_handler(TurnTimeout)(_service_error)
    app.add_middleware(Envelope, metrics=metrics)


class _Endpoint(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """FastAPI's OpenAPI document, with the types of the server-sent events, for which OpenAPI 3.1 has no place, and
        those within the bodies that are read by hand."""
        made = self.openapi_schema is None
        document = super().openapi()
        if made:
            kinds: list[Any] = [(event, "serialization") for event in (TurnEvent, CompletedEvent)]
            kinds += [(form, "validation") for form in (WantedRequirement, WantedText)]
            _, more = models_json_schema(kinds, ref_template=REFERENCE)
            document["components"]["schemas"] = more["$defs"] | document["components"]["schemas"]
        return document


async def _api_error(request: Request, error: ApiError) -> Response:
    return error.response()


async def _http_error(request: Request, error: HTTPException) -> Response:
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    return ApiError(error.status_code, str(error.detail), code=code, headers=error.headers).response()


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    name = str(first["loc"][-1]) if first["loc"] else None
    return ApiError(400, f"{name}: {first['msg']}", param=name, code="invalid_value").response()


async def _service_error(request: Request, error: ServiceUnavailable | TurnTimeout) -> Response:
    return from_service(error).response()
