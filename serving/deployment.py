"""Deploying VLMs with Ray Serve, and ending them. Light: it loads neither vLLM nor torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import ray
from ray import serve

from serving.applications import StartFailed, wait_for_applications
from serving.model_folder import check_model_folder
from serving.serve_controller import serve_applications
from serving.vlm_client import VlmClient, VlmError
from serving.vlm_config import VlmConfig


@ray.remote(num_cpus=0, max_calls=1, max_retries=0)
def _deploy(
    vlms: Mapping[str, VlmConfig], board: str | None, labels: Mapping[str, str] | None, max_replicas: int | None
) -> None:
    from serving.vlm import build_vlm

    targets = [
        serve.RunTarget(build_vlm(role, vlms[role], board, labels, max_replicas), name=role, route_prefix=None)
        for role in vlms
    ]
    serve.run_many(targets, wait_for_applications_running=False, wait_for_ingress_deployment_creation=False)


def deploy_vlms(
    vlms: Mapping[str, VlmConfig],
    board: str | None = None,
    labels: Mapping[str, str] | None = None,
    max_replicas: int | None = None,
) -> ray.ObjectRef:
    """Begin to start all VLMs at once, by role, and return without waiting; `wait_for_vlms` takes what is returned.

    A task builds the applications, so that this process need not import vLLM. Where Serve is not running it is started
    and listens on no port: callers use handles. `board` names the `WeightBoard` that replicas take their newest
    weights from when they start, `labels` what a node must have to hold one. With `max_replicas` Serve starts up to so
    many replicas of each VLM as requests come, and ends them again; so it does up to a VLM's own `max_replicas`.

    Raises:
        BrokenModelFolder: weights that are missing, damaged or cut short.
    """
    for settings in vlms.values():
        check_model_folder(settings.model)
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING", "enable_access_log": False})
    return _deploy.remote(dict(vlms), board, labels, max_replicas)


def wait_for_vlms(
    deployment: ray.ObjectRef, vlms: Mapping[str, VlmConfig], progress: Callable[[str], None] = lambda _: None
) -> dict[str, VlmClient]:
    """Clients by role, once every replica is ready. `progress` hears of each role that became ready.

    Raises:
        VlmError: a VLM failed to start; the message holds its own error.
        TimeoutError: not all were ready within the largest `start_deadline_s`.
    """
    deadline_s = max(settings.start_deadline_s for settings in vlms.values())
    try:
        wait_for_applications(vlms, deadline_s, deployment, progress)
    except StartFailed as error:
        if error.name not in vlms:
            raise VlmError(str(error)) from error
        model = vlms[error.name].model
        raise VlmError(f"the {error.name} failed to start from {model!r}: {error.reason}") from error
    clients = {role: VlmClient(serve.get_app_handle(role), role, settings) for role, settings in vlms.items()}
    for client in clients.values():
        client.versions()  # from now on an error can say where each replica ran
    return clients


def start_vlms(vlms: Mapping[str, VlmConfig]) -> dict[str, VlmClient]:
    """Start VLMs and wait until they are ready."""
    return wait_for_vlms(deploy_vlms(vlms), vlms)


def stop_vlms(roles: Sequence[str], keep_serve: bool = False) -> None:
    """Stop these VLMs, and Serve with them if it serves nothing else, unless `keep_serve` says that it may stay."""
    running = serve_applications().keys()
    if running <= set(roles) and not keep_serve:
        serve.shutdown()
        return
    for role in running & set(roles):
        serve.delete(role)
