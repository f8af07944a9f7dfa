from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weights.checksums import tensors_digest
from weights.manifest import Manifest, WeightMismatch, pack, unpack
from weights.receipts import WeightReceipt, make_receipt, verify_receipts


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(5, 7, generator=generator),
        "a.bias": torch.randn(7, generator=generator).to(torch.bfloat16),
        "b.weight": torch.randn(64, 3, generator=generator).t(),
        "step": torch.tensor(3, dtype=torch.int64),
    }


def receipt_of(update, loaded=None, replica="editor-0", **changes) -> WeightReceipt:
    manifest = update.manifest
    loaded = dict(unpack(update)) if loaded is None else loaded
    return replace(make_receipt(replica, manifest.policy, manifest.version, loaded), **changes)


def test_tensors_come_back_bit_for_bit():
    sent = tensors()
    received = dict(unpack(pack("editor", 4, sent)))
    assert list(received) == list(sent)
    for name, tensor in sent.items():
        assert received[name].dtype == tensor.dtype
        assert torch.equal(received[name], tensor)


@settings(deadline=None, max_examples=40)
@given(
    shapes=st.lists(st.lists(st.integers(1, 6), max_size=3), min_size=1, max_size=8),
    bucket_bytes=st.integers(1, 400),
)
def test_any_bucket_size_carries_any_shapes(shapes, bucket_bytes):
    sent = {f"p{index}": torch.randn(shape) for index, shape in enumerate(shapes)}
    update = pack("editor", 1, sent, bucket_bytes)
    received = dict(unpack(update))
    assert all(torch.equal(received[name], tensor) for name, tensor in sent.items())
    assert update.manifest.digest == tensors_digest(received)
    assert all(bucket.dtype == np.uint8 and bucket.flags.c_contiguous for bucket in update.buckets)


def test_small_tensors_share_a_bucket():
    update = pack("actor", 1, {f"p{index}": torch.ones(10) for index in range(500)})
    assert len(update.buckets) == 1
    assert len(pack("actor", 1, {f"p{index}": torch.ones(10) for index in range(500)}, 4800).buckets) == 5


def test_tied_parameters_are_sent_once_under_the_first_name():
    shared = torch.randn(4, 4)
    update = pack("actor", 1, {"embed.weight": shared, "norm": torch.ones(4), "lm_head.weight": shared})
    assert [spec.name for spec in update.manifest.tensors] == ["embed.weight", "norm"]
    assert update.manifest.aliases == (("lm_head.weight", "embed.weight"),)


def test_empty_mapping_and_empty_tensor_are_refused():
    with pytest.raises(ValueError, match="no tensors"):
        pack("actor", 1, {})
    with pytest.raises(ValueError, match="'w' has no elements"):
        pack("actor", 1, {"w": torch.empty(0)})


def test_a_corrupted_bucket_is_refused_with_the_tensors_name():
    update = pack("editor", 2, tensors())
    spec = next(spec for spec in update.manifest.tensors if spec.name == "b.weight")
    update.buckets[spec.bucket][spec.offset + 5] ^= 1
    with pytest.raises(WeightMismatch, match=r"'editor' version 2: tensor 'b.weight' has checksum"):
        dict(unpack(update))


def test_buckets_may_be_tensors_and_what_is_unpacked_is_a_copy():
    update = pack("editor", 2, tensors())
    received = [torch.from_numpy(bucket.copy()) for bucket in update.buckets]
    unpacked = dict(unpack(replace(update, buckets=received)))
    for bucket in received:
        bucket.zero_()
    assert tensors_digest(unpacked) == update.manifest.digest


def test_a_short_or_missing_bucket_is_refused():
    update = pack("editor", 2, tensors())
    with pytest.raises(WeightMismatch, match="'step' has 0 of 8 bytes"):
        dict(unpack(replace(update, buckets=[update.buckets[0][:-16]])))
    with pytest.raises(WeightMismatch, match="bucket 0 of 0"):
        dict(unpack(replace(update, buckets=[])))


def test_a_manifest_without_tensors_is_refused():
    with pytest.raises(WeightMismatch, match="lists no tensors"):
        dict(unpack(replace(pack("editor", 2, tensors()), manifest=Manifest("editor", 2, ()))))


def test_receipts_of_the_loaded_weights_are_accepted():
    update = pack("editor", 2, tensors())
    receipts = [receipt_of(update, replica=f"editor-{index}", previous_digest="old") for index in range(2)]
    verify_receipts(update.manifest, receipts, ["editor-0", "editor-1"])


def test_a_renamed_or_dropped_tensor_is_refused():
    update = pack("editor", 2, tensors())
    loaded = dict(unpack(update))
    renamed = {("a.Weight" if name == "a.weight" else name): tensor for name, tensor in loaded.items()}
    with pytest.raises(WeightMismatch, match=r"'editor-0'.*missing: a.weight \(1\); not in the manifest: a.Weight"):
        verify_receipts(update.manifest, [receipt_of(update, renamed)])
    loaded.pop("step")
    with pytest.raises(WeightMismatch, match=r"missing: step \(1\)"):
        verify_receipts(update.manifest, [receipt_of(update, loaded)])


def test_one_wrong_value_is_refused():
    update = pack("editor", 2, tensors())
    loaded = dict(unpack(update))
    loaded["a.weight"][0, 0] += 1
    with pytest.raises(WeightMismatch, match=r"tensors that differ: a\.weight"):
        verify_receipts(update.manifest, [receipt_of(update, loaded)])


def test_an_update_that_changes_nothing_is_refused_unless_it_repeats_the_version():
    update = pack("editor", 2, tensors())
    digest = update.manifest.digest
    with pytest.raises(WeightMismatch, match=r"replica 'editor-0', policy 'editor' version 2.*changed nothing"):
        verify_receipts(update.manifest, [receipt_of(update, previous_digest=digest, previous_version=1)])
    with pytest.raises(WeightMismatch, match="changed nothing"):
        verify_receipts(update.manifest, [receipt_of(update, previous_digest=digest)])
    verify_receipts(update.manifest, [receipt_of(update, previous_digest=digest, previous_version=2)])


def test_a_replica_that_answers_its_probe_as_before_does_not_use_its_weights():
    update = pack("editor", 2, tensors())
    receipt = receipt_of(update, previous_digest="old", previous_version=1, probe="p")
    verify_receipts(update.manifest, [replace(receipt, previous_probe="q")])
    with pytest.raises(WeightMismatch, match=r"replica 'editor-0', policy 'editor' version 2.*does not use them"):
        verify_receipts(update.manifest, [replace(receipt, previous_probe="p")])
    repeated = replace(receipt, previous_digest=update.manifest.digest, previous_version=2, previous_probe="p")
    verify_receipts(update.manifest, [repeated])


def test_missing_repeated_and_foreign_answers_are_refused():
    update = pack("editor", 2, tensors())
    receipt = receipt_of(update)
    with pytest.raises(WeightMismatch, match="no replica"):
        verify_receipts(update.manifest, [])
    with pytest.raises(WeightMismatch, match=r"without an answer: \['editor-1'\]"):
        verify_receipts(update.manifest, [receipt], ["editor-0", "editor-1"])
    with pytest.raises(WeightMismatch, match="twice"):
        verify_receipts(update.manifest, [receipt, receipt])
    with pytest.raises(WeightMismatch, match="holds policy 'editor' version 1"):
        verify_receipts(update.manifest, [replace(receipt, version=1)])
