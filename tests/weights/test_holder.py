import gc
from dataclasses import replace

import pytest
import torch

from weights.checksums import tensors_digest
from weights.holder import WeightHolder
from weights.manifest import WeightMismatch, pack
from weights.receipts import verify_receipts


class Tied(torch.nn.Module):
    """Two layers with one weight, and a buffer."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 3, bias=False)
        self.second = torch.nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("shift", torch.full((3,), value))
        torch.nn.init.constant_(self.first.weight, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x)) + self.shift


def holder_of(module: torch.nn.Module) -> WeightHolder:
    return WeightHolder("e0", "editor", module.state_dict(keep_vars=True))


def test_a_module_computes_with_what_was_loaded_and_not_before():
    module, x = Tied(1.0), torch.ones(1, 3)
    holder, before = holder_of(module), module(x)
    for version in range(1, 5):
        source = Tied(version / 2)
        update = pack("editor", version, source.state_dict())
        sent = holder.check(update)
        assert torch.equal(module(x), before)  # checking changes nothing
        receipt = holder.load(update.manifest, sent)
        verify_receipts(update.manifest, [receipt], ["e0"])
        before = module(x)
        assert torch.equal(before, source(x))
        assert module.first.weight.data_ptr() == module.second.weight.data_ptr()
        assert receipt.digest == tensors_digest({name: module.state_dict()[name] for name in update.manifest.checksums})


def test_the_parameters_are_the_received_bytes_themselves_and_outlive_the_update():
    module = Tied(1.0)
    holder = holder_of(module)
    for version in range(1, 4):
        update = pack("editor", version, Tied(float(version)).state_dict())
        places = {s.name: update.buckets[s.bucket].ctypes.data + s.offset for s in update.manifest.tensors}
        holder.load(update.manifest, holder.check(update))
        assert places == {name: module.state_dict()[name].data_ptr() for name in places}
        del update
        gc.collect()
        assert torch.equal(module.shift, torch.full((3,), float(version)))


def test_a_refused_update_leaves_the_weights_and_the_next_one_is_taken():
    module, x = Tied(1.0), torch.ones(1, 3)
    holder = holder_of(module)
    for version in (1, 2):
        update = pack("editor", version, Tied(float(version)).state_dict())
        holder.load(update.manifest, holder.check(update))
    before, broken = module(x), pack("editor", 3, Tied(5.0).state_dict())
    bucket = broken.buckets[0].copy()
    bucket[broken.manifest.tensors[0].offset] ^= 1
    with pytest.raises(WeightMismatch, match=r"replica 'e0', policy 'editor' version 3: tensor '.*' has checksum"):
        holder.check(replace(broken, buckets=[bucket]))
    assert torch.equal(module(x), before)
    assert holder.receipt.version == 2
    update = pack("editor", 3, Tied(5.0).state_dict())
    holder.load(update.manifest, holder.check(update))
    assert torch.equal(module(x), Tied(5.0)(x))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"shift": torch.zeros(3)}, r"2 parameters of the replica were not sent \['first.weight', 'second.weight'\]"),
        ({**Tied(0.0).state_dict(), "shift": torch.zeros(4)}, r"tensor 'shift' is torch.float32 \(4,\)"),
        ({**Tied(0.0).state_dict(), "shift": torch.zeros(3, dtype=torch.float64)}, "tensor 'shift' is torch.float64"),
        ({**Tied(0.0).state_dict(), "more": torch.zeros(3)}, r"1 sent ones it does not have \['more'\]"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(tensors, message):
    module = Tied(1.0)
    with pytest.raises(WeightMismatch, match=message):
        holder_of(module).check(pack("editor", 1, tensors))
    assert torch.equal(module.shift, torch.ones(3))
