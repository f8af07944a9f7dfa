import peft
import pytest
import torch

from weights.adapter import base_digest, check_fit, merge
from weights.adapter_spec import AdapterSpec, Target
from weights.manifest import WeightMismatch

TARGET = Target("net.0", "net.0.weight")


def adapter(rank: int = 2, alpha: float = 3.0):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 7, generator=generator)
    tensors = {
        TARGET.names[0]: torch.randn(rank, 7, generator=generator),
        TARGET.names[1]: torch.randn(5, rank, generator=generator),
    }
    return (
        AdapterSpec(rank, alpha, (TARGET,), "float32", base_digest([(TARGET.weight, weight)], "float32")),
        weight,
        tensors,
    )


def test_merging_is_what_peft_does():
    spec, weight, tensors = adapter()
    model = torch.nn.ModuleDict({"net": torch.nn.Sequential(torch.nn.Linear(7, 5))})
    model["net"][0].weight.data = weight.clone()
    config = peft.LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules=["net.0"])
    wrapped = peft.get_peft_model(model, config)
    loaded = peft.set_peft_model_state_dict(wrapped, {f"base_model.model.{name}": t for name, t in tensors.items()})
    assert not loaded.unexpected_keys
    expected = wrapped.merge_and_unload()["net"][0].weight
    assert torch.equal(merge(spec, TARGET, weight, tensors), expected)
    assert (expected - weight).abs().max() > 0.1


def test_the_base_digest_is_of_names_values_and_the_learners_format():
    half = [("a", torch.randn(3, 3).bfloat16()), ("b", torch.randn(2, 2).bfloat16())]
    whole = [(name, weight.float()) for name, weight in half]
    assert base_digest(half, "float32") == base_digest(reversed(whole), "float32")
    others = [base_digest(whole, "bfloat16"), base_digest([("c", whole[0][1]), whole[1]], "float32")]
    assert base_digest(whole, "float32") not in others


def test_an_adapter_for_this_weight_fits():
    spec, weight, tensors = adapter()
    check_fit("here", spec, tensors, [(TARGET, weight)])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: {**t, TARGET.names[0]: torch.ones(3, 7)}, r"lora_A.weight' has shape \(3, 7\), \(2, 7\) fits"),
        (lambda t: {TARGET.names[0]: t[TARGET.names[0]]}, r"lora_B.weight' has shape None, \(5, 2\) fits"),
        (lambda t: {**t, "x.lora_A.weight": torch.ones(2, 7)}, r"x.lora_A.weight' has shape \(2, 7\), None fits"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, named):
    spec, weight, tensors = adapter()
    with pytest.raises(WeightMismatch, match=f"here: 1 tensors of the adapter do not fit the model; .*{named}"):
        check_fit("here", spec, change(tensors), [(TARGET, weight)])


def test_an_adapter_that_was_trained_on_other_weights_is_refused():
    spec, weight, tensors = adapter()
    with pytest.raises(WeightMismatch, match=r"trained on weights with digest .* the same model folder"):
        check_fit("here", spec, tensors, [(TARGET, weight + 1e-6)])
