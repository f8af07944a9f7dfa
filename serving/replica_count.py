"""How many replicas of a deployment Serve runs."""

from __future__ import annotations

from typing import Any

CALLS = 1  # of a run: a replica works on one while the next would wait, so another replica is worth starting
_UPSCALE_S, _DOWNSCALE_S = 5.0, 120.0  # a replica takes tens of seconds to start, so one is not ended in a hurry


def replica_count(least: int, most: int | None, at_once: float) -> dict[str, Any]:
    """Serve's options for `least` replicas, or for a number that follows the requests, up to `most`.

    Args:
        least: replicas that are always there.
        most: replicas at most; None, or no more than `least`, keeps the number as it is.
        at_once: calls that one replica has at the same time; another is started when there are more.
    """
    if most is None or most <= least:
        return {"num_replicas": least}
    return {
        "autoscaling_config": {
            "min_replicas": least,
            "max_replicas": most,
            "target_ongoing_requests": at_once,
            "upscale_delay_s": _UPSCALE_S,
            "downscale_delay_s": _DOWNSCALE_S,
        }
    }
