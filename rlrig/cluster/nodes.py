"""The nodes of a Ray cluster, and those that its autoscaler could add, as far as Ray and a cluster file say."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from presets.errors import BadInput
from presets.planning.packing import Node
from rollout.local_ray import BOOTSTRAP, NODE_GROUP

DEADLINE_S = 30.0
_ALIVE = "ALIVE"
GPU_LABEL = "rlrig-gpu-gib"
"""Label of a node that says the memory of each of its GPUs, in GiB."""


@dataclass(frozen=True)
class NodeType:
    """A kind of node of which there may be up to `most`. The autoscaler starts them, but not the head."""

    node: Node
    most: int
    head: bool = False


@dataclass(frozen=True)
class Cluster:
    """Nodes that are there; `types` is None where nodes may come and nothing says which."""

    nodes: tuple[Node, ...] = ()
    types: tuple[NodeType, ...] | None = ()

    @property
    def grows(self) -> bool:
        """Whether an autoscaler may add nodes."""
        return self.types is None or any(kind.most and not kind.head for kind in self.types)

    @property
    def gpu_gib(self) -> float | None:
        """Memory of the largest GPU that a node's or node type's label says; None: none says it."""
        kinds = (*self.nodes, *(kind.node for kind in self.types or ()))
        said = [node.labels[GPU_LABEL] for node in kinds if GPU_LABEL in node.labels]
        try:
            return max(map(float, said), default=None)
        except ValueError as error:
            raise BadInput(f"label {GPU_LABEL}: {said} are not all numbers; give GiB, such as 44") from error

    @property
    def full_grown(self) -> tuple[Node, ...]:
        """The nodes that are there, and as many of each type as may still come."""
        added = []
        for kind in self.types or ():
            there = sum(node.labels.get(NODE_GROUP) == kind.node.name for node in self.nodes)
            added += [kind.node] * (0 if kind.head and self.nodes else max(0, kind.most - there))
        return (*self.nodes, *added)


def cluster_at(address: str, types: tuple[NodeType, ...] | None = None, deadline_s: float = DEADLINE_S) -> Cluster:
    """The cluster whose GCS answers at `address` (HOST:PORT, or `auto` on one of its machines), or whose dashboard does
    (http://HOST:8265). Nothing is started in it.

    Args:
        types: what its autoscaler may add, where that is known.

    Raises:
        BadInput: nothing answers there within `deadline_s` seconds, or it wants another token.
    """
    if address.startswith(("http://", "https://")):
        nodes = _of_dashboard(address, deadline_s)
    elif "://" in address:
        raise BadInput(f"--address {address}: write HOST:6379, http://HOST:8265, or auto on a machine of the cluster")
    else:
        nodes = _of_gcs(address, deadline_s)
    return cluster_of(nodes, types)


def cluster_of(nodes: tuple[Node, ...], types: tuple[NodeType, ...] | None = None) -> Cluster:
    """A cluster of these nodes. Where `types` is None, it can grow only if a node belongs to a node group, as those do
    that an autoscaler or KubeRay started; which nodes may come then, Ray does not tell."""
    if types is None and not any(NODE_GROUP in node.labels for node in nodes):
        types = ()
    return Cluster(nodes, types)


def node_types(path: Path) -> tuple[NodeType, ...]:
    """The nodes that a cluster made by `ray up` from this file may have, its head among them.

    Raises:
        BadInput: no such file, or no `available_node_types` with resources in it.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    kinds = values.get("available_node_types") if isinstance(values, Mapping) else None
    if not isinstance(kinds, Mapping) or not kinds:
        raise BadInput(f"{path}: has no available_node_types; give a cluster file of `ray up`, such as cluster.yaml")
    head = values.get("head_node_type")
    found = []
    for name, kind in kinds.items():
        if not isinstance(kind, Mapping) or not isinstance(kind.get("resources"), Mapping):
            raise BadInput(f"{path}: available_node_types.{name} has no resources; say its CPU and GPU")
        node = Node(str(name), {k: float(v) for k, v in kind["resources"].items()}, dict(kind.get("labels") or {}))
        most = int(kind.get("max_workers", values.get("max_workers", 2)))
        found.append(NodeType(node, 1, head=True) if name == head else NodeType(node, most))
    return tuple(found)


def own_gpu_gib() -> float | None:
    """Memory of this machine's first GPU; None where there is none."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 2**30 if torch.cuda.is_available() else None


def joined_cluster(deadline_s: float = DEADLINE_S) -> Cluster:
    """The cluster that this process has joined or started. On its head node, the file of `ray up` is looked at.

    Raises:
        BadInput: it does not say its nodes within `deadline_s` seconds.
    """
    import ray

    bootstrap = BOOTSTRAP.expanduser()
    types = node_types(bootstrap) if bootstrap.is_file() else None
    return cluster_of(_of_gcs(ray.get_runtime_context().gcs_address, deadline_s), types)


def _of_gcs(address: str, deadline_s: float) -> tuple[Node, ...]:
    from ray._private.services import canonicalize_bootstrap_address_or_die
    from ray._raylet import GcsClient
    from ray.core.generated.gcs_pb2 import GcsNodeInfo
    from ray.exceptions import RayError

    try:
        place = canonicalize_bootstrap_address_or_die(address)
        host, _, port = place.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=deadline_s).close()
        found = GcsClient(address=place).get_all_node_info(timeout=deadline_s)
    except (ConnectionError, OSError, ValueError, RuntimeError, RayError) as error:
        raise BadInput(
            f"--address {address}: no Ray cluster said its nodes within {deadline_s:g} s: {error}; is it up, and is "
            "this the address of its head (HOST:6379)?"
        ) from error
    return tuple(
        Node(info.node_manager_address, dict(info.resources_total), dict(info.labels))
        for info in found.values()
        if info.state == GcsNodeInfo.GcsNodeState.ALIVE
    )


def _of_dashboard(address: str, deadline_s: float) -> tuple[Node, ...]:
    import requests
    from ray.util.state import StateApiClient
    from ray.util.state.common import RAY_MAX_LIMIT_FROM_API_SERVER, ListApiOptions, StateResource
    from ray.util.state.exception import RayStateApiException

    from rlrig.cluster.submission import authorization, connect

    connect(address)  # says what is wrong with the address or the token
    options = ListApiOptions(limit=RAY_MAX_LIMIT_FROM_API_SERVER, timeout=round(deadline_s))
    try:
        client = StateApiClient(address=address, headers=authorization())
        found = client.list(StateResource.NODES, options=options, raise_on_missing_output=True)
    except (RayStateApiException, requests.exceptions.RequestException, RuntimeError) as error:
        raise BadInput(
            f"--address {address}: its dashboard did not say the cluster's nodes within {deadline_s:g} s: {error}"
        ) from error
    return tuple(
        Node(node.node_ip, dict(node.resources_total), dict(node.labels or {}))
        for node in found
        if node.state == _ALIVE
    )
