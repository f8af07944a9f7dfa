"""The board with a real Ray actor: weights outlive who made them, and a replica that starts later has them."""

from __future__ import annotations

import pytest
import ray
import torch

from experiments.faults.two_nodes import TwoNodes
from learner.weight_board import WeightBoard, latest_weights
from learner.weights import pack, publish, unpack

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two nodes; the driver is on the first."""
    with TwoNodes() as nodes:
        ray.init(address=nodes.address, log_to_driver=False)
        yield
        ray.shutdown()


@ray.remote(num_cpus=0)
class Maker:
    """Stands where a learner stands: what it puts into the object store is its own."""

    def make(self, version: int, value: float):
        return publish(pack("editor", version, {"a": torch.full((300, 300), value)}))


def test_the_newest_weights_outlive_the_process_that_made_them():
    board = WeightBoard(deadline_s=30)
    assert latest_weights(board.name, "editor", 30) is None
    maker = Maker.remote()
    for version, value in ((1, 1.0), (2, 2.0)):
        board.publish(ray.get(maker.make.remote(version, value), timeout=30))
    ray.kill(maker)
    update = latest_weights(board.name, "editor", 30)
    assert update.manifest.version == 2
    assert torch.equal(dict(unpack(update))["a"], torch.full((300, 300), 2.0))
    assert latest_weights(board.name, "actor", 30) is None
    board.close()


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
