"""The average of weights: its formula, its place in a model, and what a saved state keeps of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.average import WeightAverage, averaged_update, read_average
from weights.manifest import pack, unpack

WEIGHTS = st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3)


def named(values) -> dict[str, torch.Tensor]:
    return {"a": torch.tensor(values[:2]), "b": torch.tensor(values[2:])}


@settings(deadline=None)
@given(st.floats(0.01, 0.99), WEIGHTS, st.lists(WEIGHTS, max_size=30))
def test_it_is_the_moving_average_of_a_float64_reference(decay, start, versions):
    average = WeightAverage(decay)
    average.start(named(start).items())
    expected = np.array(start)
    for n, weights in enumerate(versions, 1):
        average.add(named(weights).items())
        d = min(decay, n / (9 + n))
        expected = d * expected + (1 - d) * np.array(weights)
    assert average.updates == len(versions)
    assert {tensor.dtype for tensor in average.tensors.values()} == {torch.float32}
    np.testing.assert_allclose(torch.cat([*average.tensors.values()]).numpy(), expected, atol=2e-6)


def test_it_is_that_of_diffusers():
    from diffusers.training_utils import EMAModel

    torch.manual_seed(0)
    weights = torch.nn.Parameter(torch.randn(4))
    average, theirs = WeightAverage(0.9), EMAModel([weights], decay=0.9)
    average.start([("w", weights)])
    for _ in range(90):  # the decay grows up to update 81
        weights.data += torch.randn(4)
        average.add([("w", weights)])
        theirs.step([weights])
    torch.testing.assert_close(average.tensors["w"], theirs.shadow_params[0], atol=1e-6, rtol=0)


def test_bfloat16_weights_are_averaged_in_float32():
    average = WeightAverage(0.9)
    average.start([("w", torch.ones(1, dtype=torch.bfloat16))])
    for _ in range(3):
        average.add([("w", torch.tensor([1 + 2**-10]))])
    assert 1 < average.tensors["w"].item() < 1 + 2**-10  # no number of bfloat16


def test_a_model_computes_with_it_meanwhile_and_with_its_own_weights_to_the_bit_afterwards():
    model = torch.nn.Linear(3, 2).to(torch.bfloat16)
    average = WeightAverage(0.5)
    weights = dict(model.named_parameters())
    average.start(weights.items())
    with torch.no_grad():
        model.weight.mul_(2)
    average.add(weights.items())
    before = {name: tensor.detach().clone() for name, tensor in weights.items()}
    with average.in_place(weights):
        for name, tensor in weights.items():
            assert torch.equal(tensor, average.tensors[name].to(torch.bfloat16))
        assert not torch.equal(model.weight, before["weight"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights.items())
    with pytest.raises(KeyError), average.in_place(weights):
        raise KeyError
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights.items())


def test_a_saved_one_goes_on_to_the_bit_and_a_damaged_one_is_refused(tmp_path):
    torch.manual_seed(0)
    versions = [{"w": torch.randn(5)} for _ in range(6)]
    average = WeightAverage(0.9)
    average.start(versions[0].items())
    for weights in versions[1:4]:
        average.add(weights.items())
    known = average.save(tmp_path)
    other = WeightAverage(0.9)
    other.load(tmp_path, known)
    for weights in versions[4:]:
        average.add(weights.items())
        other.add(weights.items())
    assert torch.equal(other.tensors["w"], average.tensors["w"])
    assert other.updates == average.updates == 5
    with pytest.raises(ValueError, match="its average is not the one that was saved; the checkpoint is damaged"):
        other.load(tmp_path, {**known, "digest": "0" * 32})
    assert read_average(tmp_path / "elsewhere") is None


def test_an_update_with_it_keeps_version_names_number_format_and_aliases():
    matrix = torch.arange(4.0).to(torch.bfloat16)
    update = pack("actor", 7, {"embed": matrix, "head": matrix, "scale": torch.ones(2)})
    averaged = averaged_update(update, {"embed": torch.full((4,), 0.3)})
    assert (averaged.manifest.policy, averaged.manifest.version) == ("actor", 7)
    assert averaged.manifest.aliases == update.manifest.aliases == (("head", "embed"),)
    tensors = dict(unpack(averaged))
    assert torch.equal(tensors["embed"], torch.full((4,), 0.3).to(torch.bfloat16))
    assert torch.equal(tensors["scale"], torch.ones(2))


def test_a_rank_that_does_not_hold_it_only_takes_part():
    average = WeightAverage(0.9, holds=False)
    weights = {"w": torch.ones(2)}
    average.start(weights.items())
    average.add(weights.items())
    with average.in_place(weights):
        assert torch.equal(weights["w"], torch.ones(2))
    assert (average.updates, average.tensors) == (1, {})
