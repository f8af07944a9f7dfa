"""Waiting until Serve applications run. Light: it loads neither vLLM nor torch."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from typing import Any

from ray.serve.schema import ApplicationStatus

from serving.serve_controller import serve_applications

_POLL_S = 0.25
_PAUSE = 9  # times what asking Serve took: it takes the processor from the replicas that are to start
_ERROR_LINE = re.compile(r"[\w.]*(Error|Exception)\b.*: ")


class StartFailed(RuntimeError):
    """An application failed to start: its name, and its own error."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} failed to start: {reason}")
        self.name, self.reason = name, reason


def wait_for_applications(
    names: Collection[str],
    deadline_s: float,
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Return once all of these applications run.

    Args:
        names: of the applications.
        deadline_s: seconds until all must run.
        progress: hears of each one that runs.

    Raises:
        StartFailed: one of them failed.
        TimeoutError: not all ran in time.
    """
    ends = time.monotonic() + deadline_s
    waiting = set(names)
    while waiting:
        asked = time.monotonic()
        statuses = serve_applications()
        took = time.monotonic() - asked
        for name in sorted(waiting & statuses.keys()):
            if statuses[name].status == ApplicationStatus.RUNNING:
                waiting.remove(name)
                progress(name)
            elif statuses[name].status in (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY):
                raise StartFailed(name, _reason(statuses[name]))
        if waiting and time.monotonic() > ends:
            states = {name: _reason(statuses[name]) if name in statuses else "not deployed" for name in sorted(waiting)}
            raise TimeoutError(f"{', '.join(states)} were not ready within {deadline_s} s (start_deadline_s): {states}")
        time.sleep(max(_POLL_S, min(_PAUSE * took, ends - time.monotonic())) if waiting else 0)


def _reason(application: Any) -> str:
    """The last error in Serve's messages, which otherwise are pages of tracebacks."""
    messages = [application.message, *(deployment.message for deployment in application.deployments.values())]
    lines = "\n".join(messages).splitlines()
    starts = [index for index, line in enumerate(lines) if _ERROR_LINE.match(line)]
    text = " ".join(lines[starts[-1] :] if starts else lines).strip() or application.status.value
    return f"{text[:600]} (all of it: Ray's session folder, logs/serve, or the Ray dashboard)"
