"""The board with a real Ray actor: weights outlive who made them, and a replica that starts later has them."""

from __future__ import annotations

import os

import numpy as np
import psutil
import pytest
import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from experiments.faults.two_nodes import STORE_BYTES, TwoNodes
from weights.board import WeightBoard, latest_weights, newest_version, publish_weights
from weights.checksums import tensors_digest
from weights.holder import WeightHolder
from weights.manifest import WeightsLost, fetch, pack, publish, publish_tensors, unpack

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two nodes; the driver is on the first."""
    with TwoNodes() as nodes:
        ray.init(address=nodes.address, log_to_driver=False)
        yield
        ray.shutdown()


@ray.remote(num_cpus=0)
class _Maker:
    """Stands where a learner stands: what it puts into the object store is its own."""

    def pid(self):
        return os.getpid()

    def make(self, version: int, value: float):
        return publish(pack("editor", version, {"a": torch.full((300, 300), value)}))

    def send(self, weights: dict[str, torch.Tensor]):
        return publish_tensors("editor", 1, weights)


def new_maker():
    """One on the node that the driver is not on."""
    here = ray.get_runtime_context().get_node_id()
    (other,) = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    return _Maker.options(scheduling_strategy=NodeAffinitySchedulingStrategy(other, soft=False)).remote()


def test_the_newest_weights_outlive_the_process_that_made_them():
    board = WeightBoard(deadline_s=30)
    assert latest_weights(board.name, "editor", 30) is None
    maker = new_maker()
    for version, value in ((1, 1.0), (2, 2.0)):
        board.publish(ray.get(maker.make.remote(version, value), timeout=30))
        assert newest_version(board.name, "editor", 30) == version
    board.keep("editor")
    board.settle()
    ray.kill(maker)
    update = latest_weights(board.name, "editor", 30)
    assert update.manifest.version == 2
    assert torch.equal(dict(unpack(update))["a"], torch.full((300, 300), 2.0))
    assert latest_weights(board.name, "actor", 30) is None
    board.close()


def test_a_replica_that_asks_before_the_board_has_its_copy_gets_weights_that_outlive_their_maker():
    board, maker = WeightBoard(deadline_s=30), new_maker()
    board.publish(ray.get(maker.make.remote(3, 3.0), timeout=30))
    update = latest_weights(board.name, "editor", 30)
    ray.kill(maker)
    assert torch.equal(dict(unpack(update))["a"], torch.full((300, 300), 3.0))
    board.close()


def lose(maker, update) -> None:
    """End the maker, and wait until it is gone. This node has asked for none of what it had made, so there is no copy
    of it here, and nobody who could be asked for one."""
    process = psutil.Process(ray.get(maker.pid.remote(), timeout=30))
    ray.kill(maker)
    process.wait(30)
    with pytest.raises(WeightsLost):
        fetch(update, 30)


def test_weights_that_ended_with_their_maker_are_named_and_newer_ones_take_their_place():
    board, maker = WeightBoard(deadline_s=30), new_maker()
    board.publish(ray.get(maker.make.remote(1, 1.0), timeout=30))
    board.settle()
    update = ray.get(maker.make.remote(2, 2.0), timeout=30)
    board.publish(update)
    lose(maker, update)
    with pytest.raises(WeightsLost, match=r"policy 'editor' version 2: the process that made them, .* ended before"):
        board.settle()
    maker = new_maker()
    board.publish(ray.get(maker.make.remote(3, 3.0), timeout=30))
    assert latest_weights(board.name, "editor", 30).manifest.version == 3
    board.close()


def test_a_service_s_weights_that_cannot_be_copied_leave_those_before():
    board, maker = WeightBoard(deadline_s=30), new_maker()
    publish_weights(board.name, ray.get(maker.make.remote(1, 1.0), timeout=30), 30)
    update = ray.get(maker.make.remote(2, 2.0), timeout=30)
    lose(maker, update)
    with pytest.raises(WeightsLost, match="version 2"):
        publish_weights(board.name, update, 30)
    assert newest_version(board.name, "editor", 30) == 1
    assert torch.equal(dict(unpack(latest_weights(board.name, "editor", 30)))["a"], torch.full((300, 300), 1.0))
    board.close()


@ray.remote(num_cpus=0)
class Replica:
    """Holds weights as the editor does, and no other reference to what it was sent."""

    def __init__(self) -> None:
        self.held = {"a": torch.zeros(1000, 1000), "b": torch.zeros(7)}
        self._weights = WeightHolder("e0", "editor", self.held)

    def apply(self, update) -> str:
        return self._weights.load(update.manifest, self._weights.check(update)).digest

    def digest(self) -> str:
        return tensors_digest(self.held)


def test_weights_in_use_stay_whole_when_their_maker_ends_and_the_object_store_is_filled():
    maker, replica = new_maker(), Replica.remote()
    weights = {"a": torch.rand(1000, 1000), "b": torch.rand(7)}
    update = ray.get(maker.send.remote(weights), timeout=60)
    assert ray.get(replica.apply.remote(update), timeout=60) == update.manifest.digest == tensors_digest(weights)
    del update
    ray.kill(maker)
    filling = [ray.put(np.full(1_000_000, 1, np.uint8)) for _ in range(2 * STORE_BYTES // 1_000_000)]  # some is spilled
    assert len(ray.wait(filling, num_returns=len(filling), timeout=60)[0]) == len(filling)
    assert ray.get(replica.digest.remote(), timeout=60) == tensors_digest(weights)


def test_every_board_is_on_the_driver_s_node_so_that_no_other_takes_it_along():
    here = ray.get_runtime_context().get_node_id()
    boards = [WeightBoard(deadline_s=30) for _ in range(4)]
    ask = lambda _: ray.get_runtime_context().get_node_id()  # noqa: E731
    assert ray.get([board._actor.__ray_call__.remote(ask) for board in boards], timeout=60) == [here] * 4
    for board in boards:
        board.close()


def test_a_board_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="board-none"):
        latest_weights("board-none", "editor", 5)
