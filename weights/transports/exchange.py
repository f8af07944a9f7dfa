"""What a sender of weights and the VLM replicas say to each other. Plain data: importing it loads no engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Step = Literal[
    "join", "begin", "take", "finish", "abandon"
]  # methods of `serving.receiving.replica_weights.ReplicaWeights`
TransportName = Literal["object_store", "nccl", "ipc"]


@dataclass(frozen=True)
class Address:
    """A replica's name, Ray's id of its node, and the UUIDs of the GPUs that hold its model."""

    replica: str
    node: str
    gpus: tuple[str, ...]
