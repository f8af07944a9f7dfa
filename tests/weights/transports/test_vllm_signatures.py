"""What we call in vLLM has the signatures that we call it with, and ours those that it calls."""

import inspect

import numpy as np
import pytest
import torch

from tests.weights.transports.test_vllm_trainer import new_update

pytestmark = pytest.mark.engines


def test_every_call_to_vllm_fits_its_signature():
    from vllm.distributed.weight_transfer import (
        WeightTransferEngineFactory,
        WeightTransferTrainerFactory,
        base,
        ipc_engine,
        nccl_engine,
    )
    from vllm.v1.engine.async_llm import AsyncLLM

    from serving.receiving.ipc import IpcReceiver
    from serving.receiving.nccl import NcclReceiver
    from serving.receiving.receiver import ObjectStoreReceiver, register
    from weights.transports.vllm_trainer import BucketSource, ReplicaCalls

    def fits(function, *arguments, **keywords):
        inspect.signature(function).bind(*arguments, **keywords)

    engine, info = object(), {}
    fits(AsyncLLM.init_weight_transfer_engine, engine, base.WeightTransferInitRequest(info))
    fits(AsyncLLM.shutdown_weight_transfer_engine, engine)
    fits(AsyncLLM.start_weight_update, engine)
    fits(AsyncLLM.update_weights, engine, base.WeightTransferUpdateRequest(info))
    fits(AsyncLLM.finish_weight_update, engine, "4")
    fits(AsyncLLM.collective_rpc, engine, "weight_report")
    fits(AsyncLLM.pause_generation, engine, mode="wait", clear_cache=True)
    for method in ("reset_prefix_cache", "reset_mm_cache", "reset_encoder_cache", "resume_generation"):
        fits(getattr(AsyncLLM, method), engine)

    register()
    for backend, ours, theirs in (
        ("object_store", ObjectStoreReceiver, base.WeightTransferEngine),
        ("proven_nccl", NcclReceiver, nccl_engine.NCCLWeightTransferEngine),
        ("proven_ipc", IpcReceiver, ipc_engine.IPCWeightTransferEngine),
    ):
        assert WeightTransferEngineFactory._registry[backend]() is ours
        assert issubclass(ours, theirs)
        fits(ours, "config", "vllm_config", "device", "model")  # as the factory calls it
        assert not inspect.isabstract(ours)
        assert issubclass(ours.update_info_cls, base.WeightTransferUpdateInfo)

    fits(WeightTransferTrainerFactory.trainer_init, info, client=object(), source=object())
    for name, trainer in (
        ("nccl", nccl_engine.NCCLTrainerWeightTransferEngine),
        ("ipc", ipc_engine.IPCTrainerWeightTransferEngine),
    ):
        assert WeightTransferTrainerFactory._registry[name]() is trainer
        fits(trainer.send_weights, engine)
        fits(trainer.shutdown, engine)
    for name in ("init_weight_transfer_engine", "start_weight_update", "update_weights", "finish_weight_update"):
        theirs, ours = (
            list(inspect.signature(getattr(c, name)).parameters) for c in (base.VLLMWeightSyncClient, ReplicaCalls)
        )
        assert ours == theirs
    assert not inspect.isabstract(BucketSource)


def test_a_source_lists_what_it_yields():
    from weights.transports.vllm_trainer import BucketSource

    update = new_update()
    source = BucketSource(update, "cpu")
    pairs = [list(source), list(source)]  # every round anew
    for found in pairs:
        assert [(m.name, m.dtype, m.shape) for m in source.metadata()] == [
            (n, t.dtype, tuple(t.shape)) for n, t in found
        ]
        assert all(np.array_equal(t.numpy(), b) for (_, t), b in zip(found, update.buckets, strict=True))
    assert source.largest == 1600


def test_every_gpu_of_every_replica_has_a_rank_of_its_own_and_with_ipc_every_replica_a_sender(monkeypatch):
    from types import SimpleNamespace

    from weights.transports import vllm_trainer
    from weights.transports.exchange import Address
    from weights.transports.vllm_transfer import Sender

    vlm = SimpleNamespace(settings=SimpleNamespace(call_deadline_s=1.0), transfer=None)
    addresses = [
        Address("r0", "n", ("GPU-0",)),
        Address("r1", "n", ("GPU-1", "GPU-2")),
        Address("r2", "n", ("GPU-3",) * 4),
    ]
    asked = []
    monkeypatch.setattr(vllm_trainer, "nccl_trainer", lambda *arguments: asked.append(arguments))
    (link,) = Sender("nccl", vlm).connect(new_update(), addresses)
    ((calls, source, _, port, world_size),) = asked
    assert (calls._ranks, world_size, link.calls, link.source) == ({"r0": 1, "r1": 2, "r2": 4}, 8, calls, source)
    assert 1024 < port < 65536

    used = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda k: SimpleNamespace(uuid=f"GPU-{k}"))
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    monkeypatch.setattr(vllm_trainer, "ipc_trainer", lambda calls, source: (calls, source))
    links = Sender("ipc", vlm).connect(new_update(), [Address("r0", "n", ("GPU-1",)), Address("r1", "n", ("GPU-0",))])
    assert [(link.calls._ranks, link.device) for link in links] == [({"r0": 0}, 1), ({"r1": 0}, 0)]
    assert used == [1, 0]
