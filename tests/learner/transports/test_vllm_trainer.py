"""vLLM's trainer engines and our receivers, as far as they run without a GPU. Importing them loads vLLM."""

import inspect
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import torch

from learner.weights import WeightUpdate, pack

pytestmark = pytest.mark.engines


def new_update(version: int = 5) -> WeightUpdate:
    from tests.learner.transports.vllm_receiving import SHAPES

    generator = torch.Generator().manual_seed(version)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    tensors["coarse"] = tensors["coarse"].bfloat16()
    return pack("actor", version, tensors, bucket_bytes=90)


class Replicas:
    """Replicas in processes of their own, which take the steps of a transfer."""

    def __init__(self, names):
        from tests.learner.transports.vllm_receiving import answer_steps

        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes, self.answers = {}, [], []
        for name in names:
            self.pipes[name], there = context.Pipe()
            self.processes.append(context.Process(target=answer_steps, args=(there,), daemon=True))
            self.processes[-1].start()

    def transfer(self, step, arguments):
        def ask(name):
            self.pipes[name].send((step, arguments[name]))
            assert self.pipes[name].poll(120), f"{name} does not answer {step}"
            error, answer = self.pipes[name].recv()
            if error is not None:
                raise RuntimeError(f"{name}: {error}")
            return answer

        with ThreadPoolExecutor(len(arguments)) as threads:
            answers = dict(zip(arguments, threads.map(ask, arguments), strict=True))
        self.answers.append((step, answers))
        return answers

    def close(self):
        for process in self.processes:
            process.kill()
            process.join(20)


@pytest.fixture(scope="module")
def replicas():
    found = Replicas(["r0", "r1"])
    yield found
    found.close()


@pytest.fixture
def connect(replicas, monkeypatch):
    """A function that makes vLLM's NCCL trainer engine with gloo, and the calls and source that it uses."""
    from vllm.utils.network_utils import get_open_port

    from learner.transports import vllm_trainer
    from tests.learner.transports.vllm_receiving import GlooGroup, without_gpu

    trainers = []

    def connected(update, damage=None):
        def group(*arguments, **keywords):
            return GlooGroup(*arguments, **keywords, damage=damage)

        without_gpu(monkeypatch.setattr, group)
        monkeypatch.setattr(vllm_trainer, "BUCKET_BYTES", 150)
        source = vllm_trainer.BucketSource(update, "cpu")
        calls = vllm_trainer.ReplicaCalls(replicas.transfer, {"r0": 1, "r1": 2})
        calls.manifest = update.manifest
        trainer = vllm_trainer.nccl_trainer(calls, source, "127.0.0.1", get_open_port(), 3)
        trainers.append(trainer)
        return trainer, calls, source

    replicas.answers.clear()
    yield connected
    for pipe in replicas.pipes.values():
        pipe.send(("leave", None))
        assert pipe.recv() == (None, None)
    for trainer in trainers:
        trainer.shutdown()


def test_vllms_nccl_engines_bring_every_tensor_to_every_replica_and_it_is_proven(connect, replicas):
    first, second = new_update(5), new_update(6)
    assert len(first.buckets) == 3
    trainer, calls, source = connect(first)
    for update in (first, second):
        source.update, calls.manifest = update, update.manifest
        trainer.send_weights()
        assert calls.receipts == {"r0": update.manifest.checksums, "r1": update.manifest.checksums}
    steps = [step for step, _ in replicas.answers]
    assert steps == ["join", *["begin", "take", "finish"] * 2]
    assert replicas.answers[0][1] == {"r0": 1, "r1": 2}  # each its own rank, though vLLM counts both from one offset
    assert [len(bucket) for bucket in first.buckets] == [1600, 80, 32]
    assert replicas.answers[2][1] == {"r0": [1600, 112], "r1": [1600, 112]}  # small buckets share a broadcast
    assert not calls.failed.done()


def flip(tensor):
    damaged = tensor.clone()
    damaged[2] ^= 1
    return damaged


def sent(trainer, calls):
    """Send as the sender's process does: an error of a replica is raised while the engine still waits for it."""
    from learner.transports.vllm_transfer import Sender

    sender = Sender.__new__(Sender)
    sender._limit_s = 60.0
    sender.run(trainer.send_weights, calls, None, "test")


def test_a_bit_that_flips_on_the_way_is_refused_with_the_tensors_name(connect):
    trainer, calls, _ = connect(new_update(), damage=flip)
    with pytest.raises(
        RuntimeError, match=r"r.: WeightMismatch: policy 'actor' version 5: tensor 'embed' has checksum"
    ):
        sent(trainer, calls)


def short(update):
    return replace(update, buckets=[*update.buckets[:2], update.buckets[2][:16]])


def renamed(update):
    specs = [replace(spec, name="Norm") if spec.name == "norm" else spec for spec in update.manifest.tensors]
    return replace(update, manifest=replace(update.manifest, tensors=tuple(specs)))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (short, "WeightMismatch: policy 'actor' version 5: tensor 'norm' has 16 of 28 bytes in its bucket"),
        (renamed, "ValueError: there is no parameter 'Norm'"),
    ],
)
def test_a_truncated_bucket_and_a_renamed_tensor_are_refused_by_name(connect, damage, named):
    trainer, calls, _ = connect(damage(new_update()))
    with pytest.raises(RuntimeError, match=f"r.: {named}"):
        sent(trainer, calls)


def test_a_replica_that_fails_ends_the_wait_of_a_sender_that_is_stuck():
    from learner.transports.vllm_trainer import ReplicaCalls

    def transfer(step, arguments):
        time.sleep(0.2)
        raise RuntimeError("replica 'r0' of the actor, version 5: it lost its engine")

    class Trainer:
        """Waits for its replicas as a stream does, which no error reaches."""

        def send_weights(self):
            threading.Thread(target=stuck, daemon=True).start()
            gone.wait(30)

    def stuck():
        with pytest.raises(RuntimeError):
            calls.start_weight_update()

    gone, calls, began = threading.Event(), ReplicaCalls(transfer, {"r0": 1}), time.monotonic()
    with pytest.raises(RuntimeError, match="replica 'r0' of the actor, version 5: it lost its engine"):
        sent(Trainer(), calls)
    assert time.monotonic() - began < 5
    gone.set()


def test_a_sender_whose_replicas_never_come_has_a_deadline():
    from learner.transports.vllm_trainer import ReplicaCalls
    from learner.transports.vllm_transfer import Sender

    sender, gone = Sender.__new__(Sender), threading.Event()
    sender._limit_s = 0.2
    with pytest.raises(TimeoutError, match=r"policy 'actor' version 5, nccl: the sender was not done within 0\.2 s"):
        sender.run(lambda: gone.wait(30), ReplicaCalls(lambda *_: {}, {}), None, "policy 'actor' version 5, nccl")
    gone.set()


class SharedMemory:
    """In the place of CUDA's: buffers of this process, found by the handle that was made for them."""

    def __init__(self):
        self.buffers = {}

    def reduce(self, buffer):
        handle = f"cuda-memory-{len(self.buffers)}".encode()
        self.buffers[handle] = buffer
        shape = (buffer.size(), buffer.stride(), 0)
        storage = (torch.storage.TypedStorage, torch.uint8, 0, handle, len(buffer), 0)
        return None, (torch.Tensor, *shape, *storage, False, b"counter", 0, b"event", True)

    def rebuild(self, *arguments):
        assert arguments[:1] + arguments[4:6] == (torch.Tensor, torch.storage.TypedStorage, torch.uint8)
        assert arguments[1:4] == (self.buffers[arguments[7]].size(), (1,), 0)
        return self.buffers[arguments[7]]


def over_messages(message):
    """What an engine process gets of a message of this process, as vLLM encodes it without any pickling."""
    from vllm import envs
    from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder

    assert not envs.VLLM_ALLOW_INSECURE_SERIALIZATION
    return MsgpackDecoder().decode(MsgpackEncoder().encode(message))


def test_vllms_ipc_engines_share_every_bucket_in_messages_of_plain_types(monkeypatch):
    from types import SimpleNamespace

    from torch.multiprocessing import reductions
    from vllm.distributed.weight_transfer import packed_tensor

    from learner.transports import vllm_trainer
    from serving.ipc_receiver import IpcReceiver
    from tests.learner.transports.vllm_receiving import new_receiver

    memory, empty = SharedMemory(), torch.empty
    stream = SimpleNamespace(synchronize=lambda: None)
    monkeypatch.setattr(packed_tensor, "reduce_tensor", memory.reduce)
    monkeypatch.setattr(reductions, "rebuild_cuda_tensor", memory.rebuild)
    monkeypatch.setattr(torch, "empty", lambda *a, device=None, **k: empty(*a, **k))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "ipc_collect", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="GPU-7"))
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    monkeypatch.setattr(vllm_trainer, "BUCKET_BYTES", 100)

    receiver, steps = new_receiver(IpcReceiver), []

    def transfer(step, arguments):
        assert arguments.keys() == {"r0"}
        steps.append(step)
        argument = arguments["r0"]
        if step == "join":
            receiver.init_transfer_engine(receiver.parse_init_info(over_messages(argument)))
        elif step == "take":
            receiver.update_weights(over_messages(argument))
        return {"r0": dict(receiver.watch.checksums)}

    update = new_update()
    source = vllm_trainer.BucketSource(update, "cpu")
    calls = vllm_trainer.ReplicaCalls(transfer, {"r0": 0})
    calls.manifest = update.manifest
    vllm_trainer.ipc_trainer(calls, source).send_weights()
    assert steps == ["join", "begin", "take", "take", "finish"]  # the buffer has room for the largest bucket alone
    assert calls.receipts == {"r0": update.manifest.checksums}


def test_handles_of_other_tensors_are_refused():
    from learner.transports.cuda_handle import full_handle, plain_handle

    arguments = SharedMemory().reduce(torch.zeros(8, dtype=torch.uint8))[1]
    assert full_handle(plain_handle(arguments)) == (arguments[0], (8,), (1,), *arguments[3:])
    with pytest.raises(ValueError, match=r"argument 5 of the handle is torch\.float32; share a tensor of uint8"):
        plain_handle((*arguments[:5], torch.float32, *arguments[6:]))


def test_messages_have_exactly_the_fields_that_the_receivers_know():
    from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferUpdateInfo
    from vllm.distributed.weight_transfer.nccl_common import NCCLWeightTransferInitInfo, worker_init_payload
    from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine, NCCLWeightTransferUpdateInfo

    from learner.transports.vllm_trainer import ReplicaCalls
    from serving.ipc_receiver import IpcBuckets
    from serving.nccl_receiver import NcclBuckets

    asked = []
    update = new_update()
    calls = ReplicaCalls(lambda step, arguments: asked.append(arguments) or {}, {"r0": 1, "r1": 3})
    calls.manifest = update.manifest
    names = {"names": ["0", "2"], "dtype_names": ["uint8"] * 2, "shapes": [[1600], [32]]}
    calls.update_weights(asdict(NCCLWeightTransferUpdateInfo(**names)))
    message = over_messages(asked[0]["r1"])
    assert message.keys() == {field.name for field in fields(NcclBuckets)}
    assert [t["name"] for t in NcclBuckets(**message).tensors] == ["embed", "norm"]

    handle = SharedMemory().reduce(torch.zeros(1632, dtype=torch.uint8))[1]
    shared = IPCWeightTransferUpdateInfo(**names, ipc_handles={"GPU-7": handle}, tensor_sizes=[1600, 32])
    calls.update_weights(asdict(shared))
    message = over_messages(asked[1]["r0"])
    assert message.keys() == {field.name for field in fields(IpcBuckets)} - {"ipc_handles_pickled"}
    assert IpcBuckets(**message).ipc_handles["GPU-7"][7] == handle[7]

    place = {"master_address": "10.0.0.1", "master_port": 1234, "rank_offset": 1, "world_size": 5}
    calls.init_weight_transfer_engine(worker_init_payload(NCCLWeightTransferInitInfo(**place)))
    infos = {name: NCCLWeightTransferEngine.init_info_cls(**over_messages(info)) for name, info in asked[2].items()}
    assert {name: info.rank_offset for name, info in infos.items()} == {"r0": 1, "r1": 3}
    assert {(info.master_address, info.master_port, info.world_size) for info in infos.values()} == {
        ("10.0.0.1", 1234, 5)
    }


def test_every_call_to_vllm_fits_its_signature():
    from vllm.distributed.weight_transfer import (
        WeightTransferEngineFactory,
        WeightTransferTrainerFactory,
        base,
        ipc_engine,
        nccl_engine,
    )
    from vllm.v1.engine.async_llm import AsyncLLM

    from learner.transports.vllm_trainer import BucketSource, ReplicaCalls
    from serving.ipc_receiver import IpcReceiver
    from serving.nccl_receiver import NcclReceiver
    from serving.weight_receiver import ObjectStoreReceiver, register

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
    from learner.transports.vllm_trainer import BucketSource

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

    from learner.transports import vllm_trainer
    from learner.transports.exchange import Address
    from learner.transports.vllm_transfer import Sender

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
