"""Parts of bounded size; the last tests run two processes that split a model with ZeRO-3."""

import multiprocessing

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weights.parts import distinct, parts

BOUND = 1 << 20  # bytes, of the split model's 5 MB


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 50), max_size=12), bucket=st.integers(1, 200))
def test_parts_hold_every_tensor_once_in_order_and_no_more_than_a_bucket(sizes, bucket):
    tensors = {f"t{index}": torch.zeros(size) for index, size in enumerate(sizes)}
    found = [list(part) for part in parts(tensors, bucket)]
    assert [name for part in found for name in part] == list(tensors)
    for index, part in enumerate(found):
        nbytes = sum(4 * tensors[name].numel() for name in part)
        assert len(part) == 1 or nbytes <= bucket
        if index:  # it begins where the one before was full
            before = sum(4 * tensors[name].numel() for name in found[index - 1])
            assert before + 4 * tensors[part[0]].numel() > bucket


def test_the_same_memory_counts_once():
    shared = torch.randn(3)
    kept, aliases = distinct({"a": shared, "b": torch.randn(3), "c": shared})
    assert list(kept) == ["a", "b"]
    assert aliases == (("c", "a"),)


class Tied(torch.nn.Module):
    """5 MB in matrices of 0.5 MB, biases that stay whole, and a head that is one of the matrices."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(256, 512) for _ in range(10)])
        self.head = torch.nn.Linear(256, 512, bias=False)
        self.head.weight = self.layers[0].weight


def held_bytes(module) -> int:
    """Bytes of matrices that this rank has in whole."""
    return sum(p.numel() * 4 for p in module.parameters() if p.dim() == 2)


def split_and_read(rank, port, answers):
    from learner.config import LearnerConfig
    from learner.engine import join, listen, new_engine
    from weights.checksums import tensors_digest
    from weights.manifest import pack

    torch.set_num_threads(1)
    store = listen("127.0.0.1", 2, 120) if rank == 0 else None
    if store is not None:
        port.send(store.port)
    join(store, "127.0.0.1", store.port if store is not None else port.recv(), rank, 2, 120)
    module = Tied()
    digest = tensors_digest(distinct(module.state_dict())[0])
    new_engine(module, LearnerConfig(ranks=2, zero_stage=3))
    tensors = module.state_dict(keep_vars=True)
    before = held_bytes(module)
    peaks, found = [], {}
    kept, aliases = distinct(tensors)
    for part in parts(kept, BOUND):
        peaks.append(held_bytes(module))
        found |= {name: tensor.detach().clone() for name, tensor in part.items()}
    update = pack("actor", 1, tensors, BOUND)
    answers.put(
        {
            "rank": rank,
            "before": before,
            "peaks": peaks,
            "after": held_bytes(module),
            "aliases": aliases,
            "same": digest == tensors_digest(found) == update.manifest.digest,
            "buckets": [bucket.size for bucket in update.buckets],
        }
    )
    torch.distributed.destroy_process_group()


@pytest.mark.engines
def test_no_rank_ever_holds_more_of_a_split_model_than_a_bucket(monkeypatch):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    answers, (receiver, sender) = context.Queue(), context.Pipe(duplex=False)
    ranks = [context.Process(target=split_and_read, args=(rank, (sender, receiver)[rank], answers)) for rank in (0, 1)]
    for rank in ranks:
        rank.start()
    try:
        results = [answers.get(timeout=240) for _ in ranks]
        for rank in ranks:
            rank.join(timeout=60)
            assert rank.exitcode == 0
    finally:
        for rank in ranks:
            rank.kill()
    assert {result["rank"] for result in results} == {0, 1}
    for result in results:
        assert result["before"] == result["after"] == 0
        assert 0 < max(result["peaks"]) <= BOUND
        assert len(result["peaks"]) > 4
        assert result["aliases"] == (("head.weight", "layers.0.weight"),)
        assert result["same"]
        assert max(result["buckets"]) <= BOUND
