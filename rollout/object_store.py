"""How full Ray's object store is, on all nodes together."""

from __future__ import annotations

_RESOURCE = "object_store_memory"


def object_store_bytes() -> int:
    """Bytes of the primary copies of objects in the stores of all nodes, as the nodes last told the head: a fraction of
    a second ago. No worker is asked, so that one that hangs holds nobody up."""
    import ray  # here, as whoever reads what a run wrote does without

    held: float = ray.cluster_resources().get(_RESOURCE, 0.0) - ray.available_resources().get(_RESOURCE, 0.0)
    return round(held)
