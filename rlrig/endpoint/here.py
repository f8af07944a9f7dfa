"""The endpoint in this process: its port answers at once, and tells what is loading until the models are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlrig.endpoint.http_server import run_server
from rlrig.endpoint.local_service import LocalService
from studio.endpoint_app import endpoint_app

if TYPE_CHECKING:
    from rlrig.endpoint.plan import ServingPlan
    from rollout.progress import Progress
    from studio.config import GatewayConfig


def serve_here(plan: ServingPlan, gateway: GatewayConfig, token: str, progress: Progress) -> None:
    """Serve a plan's models from this process until it is interrupted.

    Raises:
        BadInput: this machine cannot listen there.
        ModelLoadError, VlmError, WeightMismatch: a model cannot be loaded; the endpoint has ended.
    """
    config, gateway = plan.config, gateway.with_turns(plan.config.rollout.turns)
    local = LocalService(config, gateway, plan.raw, plan.versions)
    app = endpoint_app(local.episodes, gateway, token, plan.runs, config.prompt_limits, config.vocabulary)

    def load(url: str) -> None:
        progress.note(f"{url}/studio answers, and tells what is loading")
        with progress.phase("start"):
            local.load(progress.note)
        progress.note(f"ready: {url}/studio; models: {', '.join(one.id for one in local.episodes.models())}")

    run_server(app, gateway, load)
    progress.note("interrupted; the endpoint ends")
