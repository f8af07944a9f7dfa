"""Deploying VLMs with Ray Serve, and ending them. Light: it loads neither vLLM nor torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import ray
from ray import serve

from serving.applications import StartFailed, wait_for_applications
from serving.client import VlmClient
from serving.config import VlmConfig
from serving.generation import VlmError
from serving.model_folder import check_model_folder
from serving.serve_controller import serve_applications
from serving.vlm_application import vlm_application

_SERVE_S = 120.0


def deploy_vlms(
    vlms: Mapping[str, VlmConfig],
    board: str | None = None,
    labels: Mapping[str, str] | None = None,
    max_replicas: int | None = None,
) -> None:
    """Begin to start all VLMs at once, by role, and return without waiting; `wait_for_vlms` waits.

    Where Serve is not running it is started and listens on no port: callers use handles. `board` names the
    `WeightBoard` that replicas take their newest weights from when they start, `labels` what a node must have to hold
    one. With `max_replicas` Serve starts up to so many replicas of each VLM as requests come, and ends them again; so
    it does up to a VLM's own `max_replicas`.

    Raises:
        BrokenModelFolder: weights that are missing, damaged or cut short.
        GetTimeoutError: Serve did not start within 120 s.
    """
    for settings in vlms.values():
        check_model_folder(settings.model)
    if ray.util.get_current_placement_group() is None:
        _start_serve()
    else:  # Serve must not be in the placement group of a Tune trial
        outside = ray.remote(num_cpus=0, max_calls=1, scheduling_strategy="DEFAULT")(_start_serve)
        ray.get(outside.remote(), timeout=_SERVE_S)
    targets = [
        serve.RunTarget(vlm_application(role, settings, board, labels, max_replicas), name=role, route_prefix=None)
        for role, settings in vlms.items()
    ]
    serve.run_many(targets, wait_for_applications_running=False, wait_for_ingress_deployment_creation=False)


def _start_serve() -> None:
    """Start Serve where it is not running, without a port to listen on."""
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING", "enable_access_log": False})


def wait_for_vlms(
    vlms: Mapping[str, VlmConfig], progress: Callable[[str], None] = lambda _: None
) -> dict[str, VlmClient]:
    """Clients by role, once every replica is ready. `progress` hears of each role that became ready.

    Raises:
        VlmError: a VLM failed to start; the message holds its own error.
        TimeoutError: not all were ready within the largest `start_deadline_s`.
    """
    deadline_s = max(settings.start_deadline_s for settings in vlms.values())
    try:
        wait_for_applications(vlms, deadline_s, progress)
    except StartFailed as error:
        model = vlms[error.name].model
        raise VlmError(f"the {error.name} failed to start from {model!r}: {error.reason}") from error
    clients = {role: VlmClient(serve.get_app_handle(role), role, settings) for role, settings in vlms.items()}
    for client in clients.values():
        client.versions()  # from now on an error can say where each replica ran
    return clients


def checker_of(clients: Mapping[str, VlmClient], settings: VlmConfig) -> VlmClient:
    """The Checker's client: of its own deployment or, where there is none, of the Actor's."""
    return clients["checker"] if "checker" in clients else clients["actor"].shared("checker", settings)


def start_vlms(vlms: Mapping[str, VlmConfig]) -> dict[str, VlmClient]:
    """Start VLMs and wait until they are ready."""
    deploy_vlms(vlms)
    return wait_for_vlms(vlms)


def stop_vlms(roles: Sequence[str], keep_serve: bool = False, wait: bool = True) -> None:
    """Stop these VLMs, and Serve with them if it serves nothing else, unless `keep_serve` says that it may stay: then
    this can go on without `wait`ing for their end, which takes long for one that is still loading."""
    running = serve_applications().keys()
    if running <= set(roles) and not keep_serve:
        serve.shutdown()
        return
    stopped = sorted(running & set(roles))
    for role in stopped:  # at the same time
        serve.delete(role, _blocking=False)
    for role in stopped if wait else ():
        serve.delete(role)
