"""Whether a call failed because a replica is gone."""

from __future__ import annotations

import sys

from serving.generation import ReplicaBroken


def is_loss(error: BaseException) -> bool:
    """Whether an error says that a replica is not there any more, rather than what its code raised."""
    if "ray" not in sys.modules:  # then it is none of Ray's errors, and replicas in this process are not lost
        return False
    from ray.exceptions import RayError, RayTaskError
    from ray.serve.exceptions import RayServeException

    if isinstance(error, RayTaskError):
        return isinstance(error, ReplicaBroken | TimeoutError)
    return isinstance(error, RayError | RayServeException)
