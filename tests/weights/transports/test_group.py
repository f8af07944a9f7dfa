"""The driver's side, with editors and a sender in Ray actors, over gloo."""

import os
import time
from pathlib import Path

import pytest
import torch

from actors.fleet import Fleet
from actors.flux_model import FluxModel
from actors.inverse_diffuser import InverseDiffuser
from tests.places import ROOT
from weights.board import WeightBoard
from weights.manifest import WeightMismatch, pack, publish
from weights.receipts import verify_receipts
from weights.transports.group import Group, _Sender
from weights.transports.transport import TransportUnusable

DEADLINE_S = 60.0


class Fragile(InverseDiffuser):
    """The second one dies the first time that weights are broadcast to it."""

    def receive_weights(self, offer):
        once = Path(os.environ["FRAGILE"])
        if self.replica.endswith("1") and not once.exists():
            once.touch()
            os._exit(1)
        return super().receive_weights(offer)


def test_a_sender_without_a_gpu_says_so():
    _Sender("gloo").ready()
    with pytest.raises(TransportUnusable, match=r"sync.editor: 'nccl' is refused: its sender sees no GPU"):
        _Sender("nccl").ready()


@pytest.fixture(scope="module")
def once(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fragile") / "died"


@pytest.fixture(scope="module")
def ray_cluster(once):
    import ray

    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FRAGILE": str(once)}
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, runtime_env={"env_vars": environment})
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def weights(flux_folder) -> dict[str, torch.Tensor]:
    return dict(FluxModel(flux_folder).transformer.state_dict())


def update_of(weights, version, add):
    return publish(pack("editor", version, {n: t + add for n, t in weights.items()}, bucket_bytes=1 << 20))


@pytest.mark.engines
def test_two_editors_receive_one_version_after_another(ray_cluster, flux_folder, weights):
    fleet = Fleet.start(InverseDiffuser, 2, {"num_cpus": 0, "max_concurrency": 4}, path=flux_folder)
    group = Group(fleet, "gloo", 0.0, DEADLINE_S)
    try:
        group.start()
        for version in (1, 2):
            update = update_of(weights, version, 0.125 * version)
            assert len(update.buckets) > 2
            receipts = group.deliver(update)
            verify_receipts(update.manifest, receipts, fleet.names)
            assert {receipt.transport for receipt in receipts} == {"gloo"}
            assert {receipt.previous_version for receipt in receipts} == {version - 1}
            assert set(fleet.broadcast("version").values()) == {version}
        renamed = dict(weights)
        renamed["proj_in.bias"] = renamed.pop("proj_out.bias")
        with pytest.raises(WeightMismatch, match=r"replica 'InverseDiffuser-.', .* \['proj_out.bias'\]"):
            group.deliver(update_of(renamed, 3, 1.0))
        assert set(fleet.broadcast("version").values()) == {2}
        update = update_of(weights, 4, 1.0)  # a new sender takes the place of the one that failed
        assert {receipt.transport for receipt in group.deliver(update)} == {"gloo"}
    finally:
        group.close()
        fleet.close()


@pytest.mark.engines
def test_an_editor_that_dies_meanwhile_is_replaced_and_all_fetch_the_version(ray_cluster, flux_folder, weights, once):
    board = WeightBoard(DEADLINE_S)
    options = {"num_cpus": 0, "max_restarts": -1, "max_concurrency": 4}
    fleet = Fleet.start(
        Fragile, 2, options, deadline_s=DEADLINE_S, restart_s=120, path=flux_folder, board=board.name
    )  # fmt: skip
    group = Group(fleet, "gloo", 0.0, 10 * DEADLINE_S)
    try:
        group.start()
        update = update_of(weights, 1, 0.5)
        board.publish(update)
        began = time.monotonic()
        receipts = group.deliver(update)
        assert once.exists()
        verify_receipts(update.manifest, receipts, fleet.names)
        assert fleet.replaced == 1
        assert time.monotonic() - began < 2 * DEADLINE_S  # neither the sender nor the other editor waited for it
        update = update_of(weights, 2, 1.0)
        assert {receipt.transport for receipt in group.deliver(update)} == {"gloo"}
    finally:
        group.close()
        fleet.close()
        board.close()
