"""The transports that a run file chooses."""

import pickle
from pathlib import Path

import pytest

from presets.run_file import load_config
from weights.transports.chosen import new_transports
from weights.transports.object_store import ObjectStore
from weights.transports.shared import Shared
from weights.transports.sync_config import SyncConfig


def test_an_editor_that_trains_itself_is_sent_nothing() -> None:
    transports = new_transports(SyncConfig(), "fleet", "vlm", colocated=True)
    assert transports == {"actor": ObjectStore("vlm"), "editor": Shared("fleet")}


@pytest.mark.parametrize(
    ("overrides", "actor", "editor"),
    [
        ([], ("ObjectStore", "vlm"), ("ObjectStore", "fleet")),
        (["sync.editor=gloo"], ("ObjectStore", "vlm"), ("Group", "fleet")),
        (["sync.actor=nccl", "vlm.actor.gpus=1"], ("VllmTransfer", "vlm"), ("ObjectStore", "fleet")),
    ],
)
def test_sync_chooses_the_transport_of_each_policy(run_file: Path, overrides, actor, editor) -> None:
    transports = pickle.loads(pickle.dumps(new_transports(load_config(run_file, overrides).sync, "fleet", "vlm")))
    found = {policy: (type(transport).__name__, *vars(transport).values()) for policy, transport in transports.items()}
    assert found["actor"][:2] == actor
    assert found["editor"][:2] == editor
