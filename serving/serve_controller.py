"""Serve's controller. Serve's own calls to it have no deadline, so that one that hangs would hold up whoever asks."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve
from ray.exceptions import GetTimeoutError, RayActorError
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.schema import ApplicationStatus, ReplicaState

_ANSWER_S = 30.0
_START_S = 180.0
_POLL_S = 0.5


def wait_for_controller(answer_s: float = _ANSWER_S, start_s: float = _START_S) -> None:
    """Return once Serve's controller answers, at once where there is none. One that gives no answer within
    `answer_s` seconds is ended; Ray starts it again, and it goes on from what it had written down.

    Raises:
        TimeoutError: none answered within `start_s` seconds after that.
    """
    if not ray.is_initialized():
        return
    try:
        controller = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    except ValueError:
        return
    try:
        ray.get(controller.check_alive.remote(), timeout=answer_s)
        return
    except GetTimeoutError:
        logging.getLogger(__name__).warning("Serve's controller gave no answer for %g s: it is ended", answer_s)
        ray.kill(controller, no_restart=False)
    except RayActorError:
        pass  # it is being started again
    ends = time.monotonic() + start_s
    while (left := ends - time.monotonic()) > 0:
        try:
            ray.get(controller.check_alive.remote(), timeout=left)
            return
        except GetTimeoutError:
            break
        except RayActorError:
            time.sleep(_POLL_S)
    raise TimeoutError(
        f"Serve's controller did not answer within {answer_s:g} s, nor after it was ended within {start_s:g} s; look "
        "into Ray's session folder, logs/serve/controller_*.log"
    )


def serve_applications() -> Mapping[str, Any]:
    """What Serve says of each application (`ApplicationStatusOverview`), by name.

    Raises:
        TimeoutError: as `wait_for_controller`.
    """
    wait_for_controller()
    applications: Mapping[str, Any] = serve.status().applications
    return applications


def role_status(names: list[str]) -> dict[str, str]:
    """By the name of a Serve application: empty where one of its replicas runs, else what it does instead."""
    applications = serve_applications()
    return {name: _trouble(applications.get(name)) for name in names}


def _trouble(application: Any) -> str:
    if application is None:
        return "it is not deployed"
    if application.status in (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.DELETING):
        status: str = application.status.value
        return status.lower().replace("_", " ")
    states = [deployment.replica_states for deployment in application.deployments.values()]
    running = sum(state.get(ReplicaState.RUNNING, 0) for state in states)
    return "" if running else "no replica runs; one is being started"
