"""vLLM's IPC trainer engine and our receiver, with shared memory in the place of a GPU's."""

from dataclasses import asdict, fields

import pytest
import torch

from tests.weights.transports.test_vllm_trainer import new_update

pytestmark = pytest.mark.engines


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

    from serving.receiving.ipc import IpcReceiver
    from tests.weights.transports.vllm_receiving import new_receiver
    from weights.transports import vllm_trainer

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
    from weights.transports.cuda_handle import full_handle, plain_handle

    arguments = SharedMemory().reduce(torch.zeros(8, dtype=torch.uint8))[1]
    assert full_handle(plain_handle(arguments)) == (arguments[0], (8,), (1,), *arguments[3:])
    with pytest.raises(ValueError, match=r"argument 5 of the handle is torch\.float32; share a tensor of uint8"):
        plain_handle((*arguments[:5], torch.float32, *arguments[6:]))


def test_messages_have_exactly_the_fields_that_the_receivers_know():
    from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferUpdateInfo
    from vllm.distributed.weight_transfer.nccl_common import NCCLWeightTransferInitInfo, worker_init_payload
    from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine, NCCLWeightTransferUpdateInfo

    from serving.receiving.ipc import IpcBuckets
    from serving.receiving.nccl import NcclBuckets
    from weights.transports.vllm_trainer import ReplicaCalls

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
