"""`/healthz`, `/readyz`, `/v1/models` and `/metrics`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials

from studio.access import BEARER, Access, require
from studio.api.images import ERRORS
from studio.api.types import ErrorResponse, Health, ModelCard, ModelList, Readiness
from studio.episodes.metrics import CONTENT_TYPE, GatewayMetrics
from studio.episodes.service import ModelInfo, Service
from studio.errors import ApiError, shown

READY_DEADLINE_S = 5.0
_NAME = r"^[^\x00-\x1f\x7f]+$"  # of a model
_REFUSED: dict[int | str, dict[str, Any]] = {status: ERRORS[status] for status in (401, 403, 500)}


@dataclass(frozen=True)
class StatusApi:
    """Tells how one app and its service are. `predicates` are the only relations that it takes; empty where any."""

    service: Service
    access: Access
    metrics: GatewayMetrics
    predicates: tuple[str, ...] = ()

    def router(self) -> APIRouter:
        """The routes. Those below `/v1` and the metrics need access; the two probes do not."""
        router = APIRouter(tags=["status"])

        @router.get("/healthz", summary="Tells that the process answers", response_description="It does.")
        async def healthz() -> Health:
            return Health(status="ok")

        @router.get(
            "/readyz",
            summary="Tells whether images can be made now",
            response_description="All roles can answer.",
            response_model=Readiness,
            responses={503: {"model": Readiness, "description": "A role cannot answer."}},
            openapi_extra={"security": [{}]},  # the token is not needed
        )
        async def readyz(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> Response:
            told = self.access.allows(credentials.credentials if credentials else None)
            readiness = await self._readiness(told)
            return JSONResponse(readiness.model_dump(), 200 if readiness.ready else 503)

        @router.get(
            "/v1/models",
            summary="Lists the models",
            response_description="The models.",
            dependencies=[Depends(require)],
            responses=_REFUSED,
        )
        async def models() -> ModelList:
            return ModelList(object="list", data=[self._card(model) for model in self.service.models()])

        @router.get(
            "/v1/models/{model}",
            summary="Tells the versions of a model",
            response_description="The model.",
            dependencies=[Depends(require)],
            responses={**_REFUSED, 404: ERRORS[404], "4XX": {"model": ErrorResponse, "description": "Another error."}},
        )
        async def model_card(model: Annotated[str, Path(pattern=_NAME)]) -> ModelCard:
            known = self.service.models()
            card = next((self._card(one) for one in known if one.id == model), None)
            if card is None:
                names = ", ".join(one.id for one in known)
                raise ApiError(
                    404,
                    f"model {shown(model)} does not exist; the models are {names}",
                    param="model",
                    code="model_not_found",
                )
            return card

        @router.get(
            "/metrics",
            summary="Tells the counters, for Prometheus",
            dependencies=[Depends(require)],
            response_class=Response,
            responses={
                **_REFUSED,
                200: {"description": "The counters.", "content": {"text/plain": {"schema": {"type": "string"}}}},
            },
        )
        async def metrics() -> Response:
            return Response(self.metrics.text(self.service.models()), headers={"Content-Type": CONTENT_TYPE})

        return router

    async def _readiness(self, told: bool) -> Readiness:
        try:
            async with asyncio.timeout(READY_DEADLINE_S):
                why_not = await self.service.ready()
        except TimeoutError:
            why_not = {"service": f"it did not say within {READY_DEADLINE_S:g} s whether it is ready"}
        roles = {role: (reason if told else "not ready") if reason else "ready" for role, reason in why_not.items()}
        return Readiness(ready=not any(why_not.values()), roles=roles)

    def _card(self, model: ModelInfo) -> ModelCard:
        told = {"versions": model.versions, "relations": list(self.predicates) or None}
        return ModelCard(id=model.id, object="model", created=model.created, owned_by="rlrig", **told)
