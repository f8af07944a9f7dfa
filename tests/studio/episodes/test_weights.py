import asyncio
from typing import Any

import pytest
import torch
from ray.exceptions import ActorDiedError

from studio.episodes import weights as service_weights
from studio.episodes.version_gate import VersionGate
from studio.episodes.weights import ServiceWeights
from tests.studio.scripted_deployments import ScriptedHandle
from weights.manifest import WeightMismatch, WeightUpdate, pack, unpack
from weights.receipts import WeightReceipt, make_receipt


class Replica:
    """Holds one tensor, and answers as a replica does; `trouble` is raised by the next updates."""

    def __init__(self, name: str, *trouble: Exception) -> None:
        self.name, self.trouble = name, list(trouble)
        self.held: WeightReceipt | None = None

    @property
    def methods(self) -> dict[str, Any]:
        return {"apply_weights": self.apply_weights, "receipt": self.receipt}

    async def apply_weights(self, update: WeightUpdate) -> WeightReceipt:
        if self.trouble:
            raise self.trouble.pop(0)
        self.held = make_receipt(self.name, "actor", update.manifest.version, dict(unpack(update)), self.held)
        return self.held

    async def receipt(self) -> WeightReceipt | None:
        return self.held


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> dict[str, WeightUpdate]:
    """What a board holds, by policy."""
    held: dict[str, WeightUpdate] = {}

    def put_back(_: str, policy: str, update: WeightUpdate | None, __: float) -> None:
        held.pop(policy, None)
        if update is not None:
            held[policy] = update

    monkeypatch.setattr(service_weights, "latest_weights", lambda _, policy, __: held.get(policy))
    monkeypatch.setattr(
        service_weights, "publish_weights", lambda _, update, __: held.update({update.manifest.policy: update})
    )
    monkeypatch.setattr(service_weights, "put_back_weights", put_back)
    return held


def update(version: int) -> WeightUpdate:
    return pack("actor", version, {"w": torch.full((4, 4), float(version))})


def service(*replicas: Replica, deadline_s: float = 5.0) -> tuple[ServiceWeights, VersionGate, ScriptedHandle]:
    handle = ScriptedHandle(*(replica.methods for replica in replicas))
    gate = VersionGate({"actor": 0, "editor": 0}, deadline_s)
    return ServiceWeights({"actor": handle}, "board", gate, deadline_s), gate, handle


def test_every_replica_proves_what_it_holds(board: dict[str, WeightUpdate]) -> None:
    weights, gate, _ = service(Replica("a"), Replica("b"))
    receipts = asyncio.run(weights.apply(update(3)))
    assert [receipt.replica for receipt in receipts] == ["a", "b"]
    assert {receipt.digest for receipt in receipts} == {update(3).manifest.digest}
    assert gate.versions == {"actor": 3, "editor": 0}
    assert board["actor"].manifest.version == 3


def test_a_replica_that_is_lost_on_the_way_is_waited_for(board: dict[str, WeightUpdate]) -> None:
    weights, gate, handle = service(Replica("a"), Replica("b", ActorDiedError()))
    receipts = asyncio.run(weights.apply(update(1)))
    assert sorted(receipt.replica for receipt in receipts) == ["a", "b"]
    assert gate.versions["actor"] == 1
    assert [name for name, _ in handle.calls].count("apply_weights") == 2


def test_weights_that_are_refused_leave_everything_as_it_was(board: dict[str, WeightUpdate]) -> None:
    replica = Replica("a")
    weights, gate, _ = service(replica)
    asyncio.run(weights.apply(update(1)))
    replica.trouble.append(WeightMismatch("other shapes"))
    with pytest.raises(WeightMismatch, match="other shapes"):
        asyncio.run(weights.apply(update(2)))
    assert gate.versions["actor"] == 1
    assert board["actor"].manifest.version == 1
    assert replica.held.version == 1
    asyncio.run(weights.apply(update(3)))
    assert gate.versions["actor"] == 3


def test_a_replica_that_never_comes_back_ends_the_wait(board: dict[str, WeightUpdate]) -> None:
    weights, gate, _ = service(Replica("a"), Replica("b", *[ActorDiedError()] * 100), deadline_s=0.6)
    with pytest.raises(TimeoutError, match=r"0\.6 s"):
        asyncio.run(weights.apply(update(1)))
    assert gate.versions["actor"] == 0
    assert "actor" not in board


def test_a_replica_with_other_weights_is_brought_to_the_newest(board: dict[str, WeightUpdate]) -> None:
    late = Replica("late")

    async def go() -> None:
        weights, _, handle = service(Replica("a"))
        await weights.apply(update(2))
        handle.replicas.append(late.methods)
        for _ in range(3):
            weights.repair("actor")
        async with asyncio.timeout(2):
            while late.held is None:
                await asyncio.sleep(0.01)
        assert [name for name, _ in handle.calls].count("apply_weights") == 2

    asyncio.run(go())
    assert late.held.version == 2
