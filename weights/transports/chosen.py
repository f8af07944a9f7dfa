"""The transport of each policy, as `sync` chooses it."""

from __future__ import annotations

from weights.transports.group import Group
from weights.transports.object_store import ObjectStore
from weights.transports.sync_config import SyncConfig
from weights.transports.transport import Served, Transport, Workers
from weights.transports.vllm_transfer import VllmTransfer


def new_transports(sync: SyncConfig, editor: Workers, actor: Served) -> dict[str, Transport]:
    """What `sync` chooses, by policy; nothing is started.

    Args:
        editor: the editor's replicas.
        actor: those of the Actor.
    """
    transports: dict[str, Transport] = {"actor": ObjectStore(actor), "editor": ObjectStore(editor)}
    if sync.actor != "object_store":
        transports["actor"] = VllmTransfer(actor, sync.actor, sync.sender_gpus)
    if sync.editor != "object_store":
        share = sync.sender_gpus if sync.editor == "nccl" else 0.0
        transports["editor"] = Group(editor, sync.editor, share, sync.deadline_s)
    return transports
