"""The transport of each policy, as `sync` chooses it."""

from __future__ import annotations

from typing import Protocol

from weights.transports.group import Group
from weights.transports.object_store import ObjectStore
from weights.transports.shared import Ranks, Shared
from weights.transports.sync_config import SyncConfig
from weights.transports.transport import Served, Transport, Workers
from weights.transports.vllm_transfer import VllmTransfer


class EditorWorkers(Workers, Ranks, Protocol):
    """Replicas of the editor: an `actors.fleet.Fleet`."""


def new_transports(
    sync: SyncConfig, editor: EditorWorkers, actor: Served, colocated: bool = False
) -> dict[str, Transport]:
    """What `sync` chooses, by policy; nothing is started.

    Args:
        editor: the editor's replicas.
        actor: those of the Actor.
        colocated: the editor's replicas are the ranks of its learner, so that nothing is sent to them.
    """
    transports: dict[str, Transport] = {"actor": ObjectStore(actor), "editor": ObjectStore(editor)}
    if sync.actor != "object_store":
        transports["actor"] = VllmTransfer(actor, sync.actor, sync.sender_gpus)
    if colocated:
        transports["editor"] = Shared(editor)
    elif sync.editor != "object_store":
        share = sync.sender_gpus if sync.editor == "nccl" else 0.0
        transports["editor"] = Group(editor, sync.editor, share, sync.deadline_s)
    return transports
