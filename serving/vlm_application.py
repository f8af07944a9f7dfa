"""The Serve application of a VLM. Light: whoever deploys one needs neither vLLM nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ray
from ray import serve

from serving.config import VlmConfig
from serving.replica_count import CALLS, replica_count

if TYPE_CHECKING:
    from ray.serve import Application

_CALLS_AT_ONCE = 3  # of the endpoint, for each replica; where there are more, Serve starts another one
_ANY = 1_000_000_000  # calls that a replica takes; its engine queues them


class VlmReplica:
    """What Serve runs in the process of a replica: there, and only there, the server on vLLM is loaded. It has all
    methods of `serving.vlm.VlmServer`."""

    async def __init__(self, role: str, settings: VlmConfig, board: str | None) -> None:  # type: ignore[misc] # awaited
        from serving.vlm import VlmServer, engine_config

        self._server = VlmServer.__new__(VlmServer)
        config = engine_config(role, settings)
        await self._server.__init__(config, policy=role, settings=settings, board=board)  # type: ignore[misc]

    def __getattr__(self, name: str) -> Any:
        if name == "_server":  # it has not come so far
            raise AttributeError(name)
        return getattr(self._server, name)


def vlm_application(
    role: str,
    settings: VlmConfig,
    board: str | None = None,
    labels: Mapping[str, str] | None = None,
    max_replicas: int | None = None,
) -> Application:
    """The Serve application of one VLM; `role` names the application and the policy whose weights it takes, `board` the
    `WeightBoard` that a replica takes the newest ones from when it starts. It runs only on nodes with all `labels`.
    With `max_replicas`, or that of the settings, requests decide how many there are, from `settings.replicas` on."""
    most, at_once = (max_replicas, _CALLS_AT_ONCE) if max_replicas else (settings.max_replicas, CALLS)
    runtime_env = dict(ray.get_runtime_context().runtime_env or {})
    runtime_env["env_vars"] = {**runtime_env.get("env_vars", {}), **settings.environment}
    deployment = serve.deployment(
        VlmReplica,
        name=f"VlmServer:{role}",
        **replica_count(settings.replicas, most, at_once),
        ray_actor_options={"num_cpus": 0, "runtime_env": runtime_env},  # the placement group holds its share
        placement_group_bundles=settings.bundles,
        placement_group_strategy="PACK",
        max_ongoing_requests=_ANY,
        graceful_shutdown_timeout_s=5,
        health_check_period_s=5,
        health_check_timeout_s=10,
        max_constructor_retry_count=1,  # a model that cannot be loaded fails in the same way again
        logging_config={"log_level": "WARNING", "enable_access_log": False},
        **({"placement_group_bundle_label_selector": [dict(labels)]} if labels else {}),
    )
    return deployment.bind(role, settings, board)
