"""The receiver's own parts; what it does inside a running engine is in test_vlm.py. Importing it loads vLLM."""

import numpy as np
import pytest
import torch

from weights.checksums import tensor_checksum
from weights.manifest import WeightUpdate, pack

pytestmark = pytest.mark.engines


@pytest.fixture
def watch():
    from serving.receiving.copy_watch import CopyWatch

    return CopyWatch()


def test_a_copy_into_a_part_of_a_merged_parameter_is_seen(watch):
    merged = torch.zeros(6, 4)
    q, k = torch.randn(2, 4), torch.randn(4, 4)
    watch.expect("q", q)
    watch.expect("k", k)
    with watch:
        merged.data.narrow(0, 0, 2).copy_(q)
        merged[2:].copy_(k)
    assert watch.checksums == {"q": tensor_checksum(q), "k": tensor_checksum(k)}


def test_the_checksum_is_of_the_parameter_not_of_what_was_sent(watch):
    class Damaging(torch.utils._python_dispatch.TorchDispatchMode):
        """A loader that writes something else than it was given."""

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.copy_.default:
                args[0].add_(1)
            return result

    sent, parameter = torch.randn(3), torch.zeros(3)
    watch.expect("a", sent)
    with Damaging(), watch:
        parameter.copy_(sent)
    assert watch.checksums["a"] == tensor_checksum(parameter) != tensor_checksum(sent)


def test_a_tensor_that_reaches_no_parameter_has_no_checksum(watch):
    used, unused, meta = torch.randn(2), torch.randn(2), torch.empty(2, device="meta")
    watch.expect("used", used)
    watch.expect("unused", unused)
    with watch:
        torch.zeros(2).copy_(used)
        meta.copy_(unused)
        torch.zeros(2).copy_(unused.clone())
    assert watch.checksums.keys() == {"used"}


def test_a_shard_counts_only_if_it_equals_its_part(watch):
    whole = torch.randn(4, 2)
    watch.expect("whole", whole)
    with watch:
        torch.zeros(2, 2).copy_(whole[2:])
    assert watch.checksums == {"whole": tensor_checksum(whole)}


def test_memory_that_was_given_back_is_not_kept_and_not_watched(watch):
    from torch.multiprocessing.reductions import StorageWeakRef

    received = torch.randn(64, 64)
    memory = StorageWeakRef(received.untyped_storage())
    watch.expect("gone", received)
    part = received[8:16]
    del received
    assert not memory.expired()  # a loader may keep a part for later
    with watch:
        torch.zeros(8, 64).copy_(part)
    assert watch.checksums.keys() == {"gone"}
    del part
    assert memory.expired()
    (entry,) = watch._received.values()
    later = torch.randn(2)
    watch._received = {later.untyped_storage().data_ptr(): entry}  # another tensor lies where the first one was
    watch.checksums.clear()
    with watch:
        torch.zeros(2).copy_(later)
    assert watch.checksums == {}


def test_messages_hold_plain_types_and_every_tensor_once():
    from serving.receiving.receiver import bucket_messages

    tensors = {f"t{i}": torch.randn(10) for i in range(5)}
    update = pack("actor", 2, tensors, bucket_bytes=100)
    messages = bucket_messages(update)
    assert len(messages) == len(update.buckets) > 1
    assert [t["name"] for message in messages for t in message["tensors"]] == list(tensors)
    assert all(type(message["content"]) is bytes and message["version"] == 2 for message in messages)


def test_the_fingerprint_sees_plain_and_packed_weights():
    from serving.receiving.receiver import fingerprint

    class Packed(torch.nn.Module):
        """A linear layer as vLLM leaves it on a CPU: the weight is gone, a function knows it."""

        input_size = 3

        def __init__(self, weight):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.empty(0))
            self.cpu_linear = lambda x, _, bias: torch.nn.functional.linear(x, weight, bias)

    def model(packed, norm):
        return torch.nn.ModuleList([Packed(packed), torch.nn.LayerNorm(2), norm])

    weight, norm = torch.randn(2, 3), torch.nn.LayerNorm(4)
    before = fingerprint(model(weight, norm))
    assert fingerprint(model(weight.clone(), norm)) == before
    assert fingerprint(model(weight + 1e-3, norm)) != before
    norm.weight.data[1] += 1e-3
    assert fingerprint(model(weight, norm)) != before


def test_the_backend_registers_once():
    from vllm.distributed.weight_transfer import WeightTransferEngineFactory

    from serving.receiving.receiver import ObjectStoreReceiver, register

    register()
    register()
    assert WeightTransferEngineFactory._registry["object_store"]() is ObjectStoreReceiver


def test_a_damaged_bucket_is_refused_before_the_model_sees_it():
    from serving.receiving.copy_watch import CopyWatch
    from serving.receiving.receiver import Bucket, ObjectStoreReceiver, bucket_messages
    from weights.manifest import WeightMismatch

    update = pack("actor", 1, {"a": torch.randn(8)})
    broken = WeightUpdate(update.manifest, [np.bitwise_xor(update.buckets[0], 1)])
    receiver = ObjectStoreReceiver.__new__(ObjectStoreReceiver)
    receiver.watch, receiver.model = CopyWatch(), None
    with pytest.raises(WeightMismatch, match="tensor 'a' has checksum"):
        receiver.receive_weights(Bucket(**bucket_messages(broken)[0]))
