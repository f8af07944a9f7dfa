import pytest
import torch

from learner.skeleton import skeleton
from weights.lora import adapted_layers, adapter_tensors, add_adapter, add_received, bindings, spec_of, without_adapter
from weights.lora_config import LoraConfig

QKV = ("q_proj", "k_proj", "v_proj")


def lora(*names: str, **settings) -> LoraConfig:
    return LoraConfig(target_modules=names or QKV, **{"rank": 4, "alpha": 8.0, **settings})


@pytest.fixture
def vlm(vlm_folder):
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(vlm_folder, dtype=torch.float32).eval()


@pytest.fixture
def transformer(flux_folder):
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel.from_pretrained(flux_folder, subfolder="transformer").eval()


def test_a_pattern_that_binds_to_nothing_is_refused_with_names_that_exist(vlm, transformer):
    with pytest.raises(ValueError, match=r"'to_qq' binds to zero modules.*transformer_blocks\.\d.*to_q, to_k"):
        bindings(transformer, lora("to_k", "to_qq"))
    with pytest.raises(ValueError, match=r"Idefics3.*'to_q' binds to zero modules.*q_proj"):
        add_adapter(vlm, lora("to_q"), 0)
    with pytest.raises(ValueError, match="'all-linear' binds to zero modules"):
        bindings(vlm, LoraConfig(target_modules="all-linear"))
    assert not any("lora" in name for name, _ in vlm.named_parameters())


def test_a_pattern_that_binds_to_another_kind_of_layer_is_refused(vlm):
    with pytest.raises(ValueError, match=r"'embed_tokens' binds to model\.text_model\.embed_tokens, a Embedding"):
        bindings(vlm, lora("embed_tokens"))


def test_a_matrix_that_two_modules_use_is_refused(vlm):
    vlm.lm_head.weight = vlm.model.text_model.embed_tokens.weight
    with pytest.raises(ValueError, match="lm_head shares its matrix"):
        bindings(vlm, lora("q_proj", "lm_head"))


def test_names_stand_for_ends_of_paths_and_an_expression_for_whole_paths(transformer):
    ends = bindings(transformer, lora("proj_out"))
    assert {"proj_out", "single_transformer_blocks.0.proj_out"} <= set(ends)
    assert bindings(transformer, LoraConfig(target_modules="proj_out")) == ["proj_out"]
    some = bindings(transformer, LoraConfig(target_modules=r"transformer_blocks\.\d+\.attn\.to_(q|k)"))
    assert len(some) == 2 * transformer.config.num_layers


def test_the_skeleton_has_the_layers_of_the_model_and_no_weights(vlm, transformer, vlm_folder, flux_folder):
    for policy, folder, module, names in (
        ("actor", vlm_folder, vlm, QKV),
        ("editor", flux_folder, transformer, ("to_q", "proj_mlp")),
    ):
        bare = skeleton(policy, str(folder))
        assert bindings(bare, lora(*names)) == bindings(module, lora(*names))
        assert all(parameter.is_meta for parameter in bare.parameters())


def test_only_the_adapter_trains_and_its_first_values_follow_from_the_seed(vlm, vlm_folder):
    from transformers import AutoModelForImageTextToText

    state = torch.get_rng_state()
    add_adapter(vlm, lora(), seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    tensors = adapter_tensors(vlm)
    trained = {id(parameter) for parameter in vlm.parameters() if parameter.requires_grad}
    assert trained == {id(tensor) for tensor in tensors.values()}
    assert len(tensors) == 2 * len(adapted_layers(vlm)) > 0
    for name, tensor in tensors.items():
        assert tensor.any() != name.endswith("lora_B.weight")
    again = AutoModelForImageTextToText.from_pretrained(vlm_folder, dtype=torch.float32)
    add_adapter(again, lora(), seed=3)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in adapter_tensors(again).items())
    other = AutoModelForImageTextToText.from_pretrained(vlm_folder, dtype=torch.float32)
    add_adapter(other, lora(), seed=4)
    assert any(not torch.equal(tensor, tensors[name]) for name, tensor in adapter_tensors(other).items())


def test_a_received_adapter_has_the_learners_layers_scale_and_format(transformer, flux_folder):
    from diffusers import FluxTransformer2DModel

    names = {name: name for name in transformer.state_dict()}
    settings = LoraConfig(target_modules="proj_out", rank=4, alpha=6.0)
    add_adapter(transformer, settings, 0)
    spec = spec_of(transformer, settings, names)
    assert [(target.module, target.weight) for target in spec.targets] == [("proj_out", "proj_out.weight")]
    replica = FluxTransformer2DModel.from_pretrained(flux_folder, subfolder="transformer", dtype=torch.bfloat16)
    add_received(replica, spec)
    (layer,) = adapted_layers(replica).values()
    assert layer.scaling["default"] == 1.5
    assert {tensor.dtype for tensor in adapter_tensors(replica).values()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in replica.parameters())


def test_without_its_adapter_the_model_computes_as_before(vlm):
    inputs = {"input_ids": torch.arange(5)[None], "use_cache": False}
    with torch.no_grad():
        before = vlm(**inputs).logits
        add_adapter(vlm, lora(), 0)
        for name, tensor in adapter_tensors(vlm).items():
            if name.endswith("lora_B.weight"):
                tensor.add_(0.1)
        assert (vlm(**inputs).logits - before).abs().max() > 1e-3
        with without_adapter(vlm):
            assert torch.equal(vlm(**inputs).logits, before)
        assert (vlm(**inputs).logits - before).abs().max() > 1e-3
    assert all(tensor.requires_grad for tensor in adapter_tensors(vlm).values())
