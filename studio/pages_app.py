"""The pages of runs as an app of their own, which makes no images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from studio.api.app import guard
from studio.episodes.metrics import GatewayMetrics
from studio.pages.router import runs_router

if TYPE_CHECKING:
    from studio.config import GatewayConfig


def pages_app(runs: Path, config: GatewayConfig, token: str) -> FastAPI:
    """The runs in the folder `runs`, for whoever `Access` lets in; `/` leads to the list of them.

    Raises:
        ValueError: the address needs a token and there is none, or the token is too short.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    guard(app, config, token, GatewayMetrics())
    app.get("/")(lambda: RedirectResponse("/runs"))
    app.get("/healthz")(lambda: {"status": "ok"})
    app.include_router(runs_router(runs, studio=False))
    return app
