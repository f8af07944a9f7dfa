"""Settings of the transports, checked before anything starts. Imports neither torch nor Ray."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scenes.section import Section
from weights.transports.exchange import TransportName


class SyncConfig(Section):
    """How new weights come to the replicas of a policy. All of it is proven in the same way."""

    actor: TransportName = "object_store"
    """To the Actor: `object_store` (Ray's), or vLLM's own `nccl` (broadcast between GPUs) or `ipc` (memory on a GPU
    that the sender shares with a replica; one node, one GPU a replica)."""
    editor: Literal["object_store", "nccl", "gloo"] = "object_store"
    """To the editor: `object_store` (Ray's), or a broadcast of torch.distributed, `nccl` between GPUs or `gloo`."""
    sender_gpus: float = Field(0.1, gt=0, le=1)
    """Share of a GPU that is set aside for the process which sends with `nccl`; no replica may be on that GPU."""
    deadline_s: float = Field(120.0, gt=0)
    """Seconds that a broadcast to the editor may take; then its replicas take the weights from the object store. For
    the Actor, `vlm.actor.call_deadline_s` holds."""
