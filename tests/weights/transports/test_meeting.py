"""The sender is this process, its receivers are others, over gloo."""

import multiprocessing
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.weights.transports.receiving import receive_and_tell
from weights.checksums import tensors_digest
from weights.holder import WeightHolder
from weights.manifest import WeightMismatch, WeightUpdate, pack, unpack
from weights.transports.meeting import GroupSender, receive
from weights.transports.transport import TransferFailed

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.weights.transports.receiving"])
    return context


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "embed": torch.randn(50, 8, generator=generator),
        "half": torch.randn(33, generator=generator).bfloat16(),
        "norm": torch.randn(7, generator=generator),
        "step": torch.tensor(3),
    }


def new_update() -> WeightUpdate:
    update = pack("editor", 3, tensors(), bucket_bytes=90)
    assert len(update.buckets) == 3
    return update


def exchange(processes, update, names, *, deadline_s=30.0, absent=(), dies_at=None):
    """Send to receivers of these names: the sender's error, and what came of those that lived. One may be absent, one
    may die at a broadcast."""
    sender = GroupSender(update, names, "gloo", LOOPBACK, deadline_s)
    dies_at = dies_at or {}
    pipes, started = [], []
    for name in set(names) - set(absent):
        here, there = processes.Pipe()
        process = processes.Process(target=receive_and_tell, args=(sender.offer, name, dies_at.get(name), there))
        process.start()
        pipes.append(here)
        started.append(process)
        there.close()
    error = None
    try:
        sender.send()
    except TransferFailed as failed:
        error = str(failed)
    received = {}
    for pipe in pipes:
        assert pipe.poll(deadline_s + 20)
        try:
            found = pipe.recv()
        except EOFError:
            continue
        received[found.replica] = found
    for process in started:
        process.join(20)
        assert not process.is_alive()
    assert not torch.distributed.is_initialized()
    return error, received


def as_update(update, received) -> WeightUpdate:
    return replace(update, buckets=[np.frombuffer(bucket, np.uint8) for bucket in received.buckets])


def test_every_receiver_gets_every_bucket_in_order(processes):
    update = new_update()
    error, received = exchange(processes, update, ["e0", "e1"])
    assert error is None
    assert received.keys() == {"e0", "e1"}
    for found in received.values():
        assert found.buckets == [bucket.tobytes() for bucket in update.buckets]
        assert tensors_digest(dict(unpack(as_update(update, found)))) == update.manifest.digest


def test_a_receiver_that_never_comes_is_named_and_the_others_stop_waiting(processes):
    began = time.monotonic()
    error, received = exchange(processes, new_update(), ["e0", "e1"], deadline_s=8.0, absent=["e1"])
    assert error == "sender of policy 'editor' version 3: ['e1'] did not come within 8 s"
    assert received["e0"].error == f"TransferFailed: replica 'e0', policy 'editor' version 3: {error}"
    assert time.monotonic() - began < 16


def test_a_receiver_that_dies_on_the_way_ends_the_wait_of_all(processes):
    began = time.monotonic()
    error, received = exchange(processes, new_update(), ["e0", "e1"], deadline_s=60.0, dies_at={"e1": 1})
    assert error.startswith("sender of policy 'editor' version 3: ")
    assert "'e1'" in error
    assert received.keys() == {"e0"}
    assert received["e0"].error.startswith("TransferFailed: replica 'e0', policy 'editor' version 3: ")
    assert time.monotonic() - began < 30


def flipped(update):
    bucket = update.buckets[1].copy()
    bucket[3] ^= 1
    return replace(update, buckets=[update.buckets[0], bucket, update.buckets[2]])


def truncated(update):
    return replace(update, buckets=[*update.buckets[:2], update.buckets[2][:16]])


def renamed(update):
    manifest = update.manifest
    specs = [replace(spec, name="Norm") if spec.name == "norm" else spec for spec in manifest.tensors]
    return replace(update, manifest=replace(manifest, tensors=tuple(specs)))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (flipped, "tensor 'half' has checksum"),
        (truncated, "tensor 'norm' has 16 of 28 bytes in its bucket"),
        (renamed, r"1 parameters of the replica were not sent \['norm'\], 1 sent ones it does not have \['Norm'\]"),
    ],
)
def test_what_was_damaged_on_the_way_is_refused_with_replica_policy_and_tensor(processes, damage, named):
    sent = damage(new_update())
    error, received = exchange(processes, sent, ["e0"])
    assert error is None
    held = WeightHolder("e0", "editor", {name: torch.zeros_like(tensor) for name, tensor in tensors().items()})
    digest = held.receipt.digest
    with pytest.raises(WeightMismatch, match=f"replica 'e0', policy 'editor' version 3: {named}"):
        held.check(as_update(sent, received["e0"]))
    assert held.receipt.digest == digest


def test_a_sender_that_does_not_begin_is_not_waited_for_longer_than_the_deadline():
    sender = GroupSender(new_update(), ["e0"], "gloo", LOOPBACK, 0.5)
    with pytest.raises(TransferFailed, match="replica 'e0', policy 'editor' version 3: its sender did not begin"):
        receive(sender.offer, "e0")


def test_a_sender_that_is_gone_is_an_error():
    sender = GroupSender(new_update(), ["e0"], "gloo", LOOPBACK, 2.0)
    offer = sender.offer
    del sender
    with pytest.raises(TransferFailed, match="replica 'e0', policy 'editor' version 3: it lost its sender"):
        receive(offer, "e0")


def test_only_those_who_are_expected_may_come_and_only_once():
    sender = GroupSender(new_update(), ["e0", "e1"], "gloo", LOOPBACK, 0.5)
    with pytest.raises(TransferFailed, match=r"replica 'e7', .*: its sender expects \['e0', 'e1'\]"):
        receive(sender.offer, "e7")
    with pytest.raises(TransferFailed, match="did not begin"):
        receive(sender.offer, "e0")
    with pytest.raises(TransferFailed, match=r"replica 'e0', .*: it was there before and has been started again"):
        receive(sender.offer, "e0")


def test_an_abandoned_update_ends_the_waits_of_both_sides():
    sender = GroupSender(new_update(), ["e0", "e1"], "gloo", LOOPBACK, 60.0)
    errors = []

    def side(work):
        with pytest.raises(TransferFailed) as raised:
            work()
        errors.append(str(raised.value))

    sides = [threading.Thread(target=side, args=[work]) for work in (sender.send, lambda: receive(sender.offer, "e0"))]
    began = time.monotonic()
    for thread in sides:
        thread.start()
    time.sleep(0.2)
    sender.abandon("e1 failed: no memory")
    for thread in sides:
        thread.join(20)
        assert not thread.is_alive()
    assert sorted(errors) == [
        "replica 'e0', policy 'editor' version 3: e1 failed: no memory",
        "sender of policy 'editor' version 3: e1 failed: no memory",
    ]
    assert time.monotonic() - began < 20
