"""The endpoint's app before an episode service, with the pages: the same on Ray Serve and in one process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serving.endpoint.prompt_parser import PromptParser
from studio.api.app import make_app
from studio.pages.router import pages_router

if TYPE_CHECKING:
    from fastapi import FastAPI

    from scenes.vocabulary.vocabulary import Vocabulary
    from serving.prompt_limits import PromptLimits
    from studio.config import GatewayConfig
    from studio.episodes.service import Service


def endpoint_app(
    service: Service, config: GatewayConfig, token: str, runs: Path, limits: PromptLimits | None, words: Vocabulary
) -> FastAPI:
    """The app with its access check and its limits. Until the service was ready once, `/studio` says what is loading.

    Args:
        token: the bearer token, empty for none.
        runs: the folder whose runs the pages show.
        limits: which prompts the models can take, as far as it is known.
        words: what can be asked for.
    """
    return make_app(
        service,
        config,
        [pages_router(runs, config, words, service.ready)],
        token=token,
        parse_prompt=PromptParser(config.parser, words.predicates) if config.parser else None,
        refusal=limits.refusal if limits else None,
        vocabulary=words,
    )
