"""How full Ray's object store is, on all nodes together: what `ray memory --stats-only` prints."""

from __future__ import annotations

import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address


def object_store_bytes(deadline_s: float = 10.0) -> int:
    """Bytes of the objects in the stores of all nodes.

    Raises:
        grpc.RpcError: no node answered within `deadline_s` seconds.
    """
    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    return get_memory_info_reply(state, timeout_seconds=deadline_s).store_stats.object_store_bytes_used
