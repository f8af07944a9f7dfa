"""`POST /v1/requirements`: what a prompt requires, shown before anything is drawn."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from scenes.requirements_reader import Impossible
from scenes.vocabulary.forms import RequirementText
from scenes.vocabulary.vocabulary import Vocabulary
from serving.prompts.plain_prompts import read_prompt
from studio.access import require, slot
from studio.api.body_reader import read_json
from studio.api.images import ERRORS, body_schema
from studio.api.requests import PromptRequest
from studio.api.types import NotUnderstoodText, RequirementsResponse
from studio.config import GatewayConfig
from studio.episodes.service import Service
from studio.errors import ApiError


def requirements_router(service: Service, config: GatewayConfig, vocabulary: Vocabulary) -> APIRouter:
    """The route; it needs access and a slot of its client."""
    router = APIRouter(tags=["images"], dependencies=[Depends(require), Depends(slot)], responses=ERRORS)

    @router.post(
        "/v1/requirements",
        summary="Read a prompt",
        response_description="What it requires.",
        openapi_extra=body_schema("application/json", PromptRequest),
    )
    async def requirements(request: Request) -> RequirementsResponse:
        """Tells what a prompt requires: as it is read by rules, or else by the Actor's VLM. Draws nothing."""
        prompt = (await read_json(request, PromptRequest, config)).prompt
        try:
            found = await read_prompt(service.say, prompt, vocabulary)
        except Impossible as error:
            raise ApiError(400, str(error), param="prompt", code="impossible_prompt") from error
        except ValueError as error:
            raise ApiError(422, str(error), param="prompt", code="prompt_not_understood") from error
        asked = found.graph.requirements if found.graph else ()
        return RequirementsResponse(
            prompt="; ".join(one.text for one in asked),
            requirements=[RequirementText.of(one) for one in asked],
            unused=[NotUnderstoodText(text=text, reason=reason) for text, reason in found.unused],
        )

    return router
