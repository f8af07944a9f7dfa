"""vLLM's trainer engines and our receivers, as far as they run without a GPU. Importing them loads vLLM."""

import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from weights.manifest import WeightUpdate, pack

pytestmark = pytest.mark.engines


def new_update(version: int = 5) -> WeightUpdate:
    from tests.weights.transports.vllm_receiving import SHAPES

    generator = torch.Generator().manual_seed(version)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    tensors["coarse"] = tensors["coarse"].bfloat16()
    return pack("actor", version, tensors, bucket_bytes=90)


class Replicas:
    """Replicas in processes of their own, which take the steps of a transfer."""

    def __init__(self, names):
        from tests.weights.transports.vllm_receiving import answer_steps

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

    from tests.weights.transports.vllm_receiving import GlooGroup, without_gpu
    from weights.transports import vllm_trainer

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
    from weights.transports.vllm_transfer import Sender

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
    from weights.transports.vllm_trainer import ReplicaCalls

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
    from weights.transports.vllm_trainer import ReplicaCalls
    from weights.transports.vllm_transfer import Sender

    sender, gone = Sender.__new__(Sender), threading.Event()
    sender._limit_s = 0.2
    with pytest.raises(TimeoutError, match=r"policy 'actor' version 5, nccl: the sender was not done within 0\.2 s"):
        sender.run(lambda: gone.wait(30), ReplicaCalls(lambda *_: {}, {}), None, "policy 'actor' version 5, nccl")
    gone.set()
