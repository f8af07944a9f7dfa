"""Where `rlrig serve` serves: in this process, or on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from presets.errors import BadInput
from rlrig.checks.preflight import check_models
from studio.exposure import check_exposure

if TYPE_CHECKING:
    from rlrig.endpoint.plan import ServingPlan
    from rollout.progress import Progress
    from studio.config import GatewayConfig


def serve(plan: ServingPlan, gateway: GatewayConfig, token: str, progress: Progress, local: bool | None) -> None:
    """Serve until interrupted, then end everything.

    Args:
        local: in this process or on Ray; None: in this process where the models fit.

    Raises:
        BadInput: what was given cannot be used.
        RunFailed, StartFailed, TimeoutError: a part did not start.
    """
    check_exposure(gateway, token)
    reason = plan.why_on_ray(gateway)
    if local and reason is not None:
        raise BadInput(f"--local: {reason}, which needs Ray; leave --local out")
    for config in (plan.config, plan.raw):
        if config is not None:
            check_models(config)
    progress.start("serve", [])
    if local is not False and reason is None:
        from rlrig.endpoint.here import serve_here

        serve_here(plan, gateway, token, progress)
        return
    from rlrig.endpoint.on_ray import serve_on_ray

    progress.note(f"models on Ray and vLLM: {'--ray' if reason is None else reason}")
    serve_on_ray(plan, gateway, token, progress)
