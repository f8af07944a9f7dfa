"""Merging an adapter with the weights of a model folder, beside peft; no engine is started."""

import shutil

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from learner.config import LearnerConfig
from learner.pretraining.vlm_model import build
from learner.vlm_policy import VlmPolicy
from serving.receiving.adapter_merge import AdapterMerger, adapter_receipt
from serving.receiving.base_model import BaseModel
from weights.checksums import checksums_digest, tensor_checksum, tensors_digest
from weights.lora_config import LoraConfig
from weights.manifest import WeightMismatch, pack, unpack
from weights.receipts import WeightReceipt, verify_receipts

LORA = LoraConfig(rank=2, alpha=4.0, target_modules=r"model\.text_model\.layers\.[01]\.self_attn\.q_proj|lm_head")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return build(tmp_path_factory.mktemp("models") / "vlm")


@pytest.fixture(scope="module")
def policy(folder):
    policy = VlmPolicy(folder, LearnerConfig(lora=LORA))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in policy.weights.tensors().items():
            if name.endswith("lora_B.weight"):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    return policy


def update_of(policy, version=1, **changes):
    tensors = {**policy.weights.tensors(), **changes}
    return pack("actor", version, tensors, adapter=policy.weights.spec())


def test_what_is_loaded_is_the_folders_weights_with_the_adapter_added(folder, policy, tmp_path):
    update = update_of(policy)
    merged = AdapterMerger(BaseModel(str(folder))).merged(update, torch.float32)
    assert (update.kind, merged.kind, merged.manifest.version) == ("lora", "full", 1)
    loaded, base = dict(unpack(merged)), load_file(folder / "model.safetensors")

    policy.export(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    expected = peft.PeftModel.from_pretrained(model, tmp_path / "lora").merge_and_unload().state_dict()
    changed = {target.weight for target in policy.weights.spec().targets}
    assert len(changed) == 3
    for name, tensor in loaded.items():
        assert torch.equal(tensor, expected[name])
        assert torch.equal(tensor, base[name]) != (name in changed)


def test_the_rest_of_a_changed_layer_is_loaded_along_and_nothing_else(folder, policy):
    merged = AdapterMerger(BaseModel(str(folder))).merged(update_of(policy), torch.float32)
    attention = [f"model.text_model.layers.{layer}.self_attn.{name}_proj.weight" for layer in (0, 1) for name in "kqvo"]
    assert set(merged.manifest.checksums) == {"lm_head.weight", *attention}


def test_an_adapter_is_far_smaller_than_what_it_changes(folder, policy):
    update = update_of(policy)
    full = sum(tensor.numel() * 4 for tensor in load_file(folder / "model.safetensors").values())
    assert update.nbytes == sum(2 * 4 * (out + 128) for out in (128, 128, 83))
    assert update.nbytes < full / 500


def test_another_number_format_is_that_of_the_sum(folder, policy):
    merger = AdapterMerger(BaseModel(str(folder)))
    exact = dict(unpack(merger.merged(update_of(policy), torch.float32)))
    rounded = dict(unpack(merger.merged(update_of(policy), torch.bfloat16)))
    assert all(torch.equal(rounded[name], tensor.bfloat16()) for name, tensor in exact.items())


def test_a_change_that_the_number_format_rounds_away_is_refused_with_its_share(folder, policy):
    merger = AdapterMerger(BaseModel(str(folder)))
    ups = {name: tensor for name, tensor in policy.weights.tensors().items() if name.endswith("lora_B.weight")}
    first = update_of(policy, **{name: 1e-5 * tensor.sign() for name, tensor in ups.items()})  # as Adam's first step
    merger.merged(first, torch.float32)
    assert merger.surviving == pytest.approx(1, abs=1e-3)
    said = r"version 1: \d% of the adapter's change survives in weights of torch.bfloat16; set vlm.actor.adapter=beside"
    with pytest.raises(WeightMismatch, match=said):
        merger.merged(first, torch.bfloat16)
    assert merger.surviving < 0.1
    merger.merged(update_of(policy), torch.bfloat16)  # thousands of times as large
    assert merger.surviving > 0.95


def test_a_folder_in_half_precision_is_the_base_of_a_learner_that_loaded_it_in_whole(policy, tmp_path, folder):
    half = shutil.copytree(folder, tmp_path / "half")
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, half / "model.safetensors", metadata={"format": "pt"})
    learner = VlmPolicy(half, LearnerConfig(lora=LORA))
    assert learner.weights.spec().dtype == "float32"
    loaded = dict(unpack(AdapterMerger(BaseModel(str(half))).merged(update_of(learner), torch.float32)))
    assert torch.equal(loaded["lm_head.weight"], tensors["lm_head.weight"].float())  # B is still zero


def test_an_adapter_of_another_model_is_refused(policy, tmp_path):
    other = build(tmp_path / "other", seed=1)
    with pytest.raises(
        WeightMismatch, match=r"version 1, model .*other: the adapter was trained on weights with digest"
    ):
        AdapterMerger(BaseModel(str(other))).merged(update_of(policy), torch.float32)
    weights = load_file(other / "model.safetensors")
    save_file({name: t for name, t in weights.items() if name != "lm_head.weight"}, other / "model.safetensors")
    with pytest.raises(WeightMismatch, match=r"the model has no tensor 'lm_head\.weight'"):
        AdapterMerger(BaseModel(str(other))).merged(update_of(policy), torch.float32)


def test_tensors_of_another_rank_and_damaged_bytes_are_refused(folder, policy):
    wrong = update_of(policy, **{"lm_head.lora_A.weight": torch.ones(3, 128)})
    with pytest.raises(WeightMismatch, match=r"'lm_head\.lora_A\.weight' has shape \(3, 128\), \(2, 128\) fits"):
        AdapterMerger(BaseModel(str(folder))).merged(wrong, torch.float32)
    damaged = update_of(policy)
    damaged.buckets[0][3] ^= 1
    with pytest.raises(WeightMismatch, match="has checksum"):
        AdapterMerger(BaseModel(str(folder))).merged(damaged, torch.float32)


def receipt_of(merged, previous) -> WeightReceipt:
    """That of an engine which loaded everything."""
    checksums = {name: tensor_checksum(tensor) for name, tensor in unpack(merged)}
    return WeightReceipt("r", "actor", merged.manifest.version, checksums_digest(checksums), previous, 0, checksums)


def test_a_receipt_leads_from_the_base_and_the_adapter_to_what_was_loaded(folder, policy):
    first, second = update_of(policy), update_of(policy, 2, **{"lm_head.lora_B.weight": torch.ones(83, 2)})
    merger = AdapterMerger(BaseModel(str(folder)))
    loaded = [merger.merged(update, torch.float32) for update in (first, second)]
    receipt = adapter_receipt(first.manifest, receipt_of(loaded[0], "folder"), None, merger.surviving)
    verify_receipts(first.manifest, [receipt], ["r"])
    assert receipt.digest == tensors_digest(policy.weights.tensors())
    assert receipt.base == policy.weights.spec().base
    assert receipt.merged == loaded[0].manifest.digest
    assert (receipt.previous_digest, receipt.previous_merged) == (None, "folder")

    after = adapter_receipt(second.manifest, receipt_of(loaded[1], receipt.merged), receipt, 1.0)
    verify_receipts(second.manifest, [after])
    assert (after.previous_digest, after.previous_merged) == (receipt.digest, receipt.merged)

    unchanged = adapter_receipt(second.manifest, receipt_of(loaded[1], loaded[1].manifest.digest), receipt, 1.0)
    with pytest.raises(WeightMismatch, match="number format is too coarse"):
        verify_receipts(second.manifest, [unchanged])
    with pytest.raises(WeightMismatch, match="weights with digest None"):
        verify_receipts(second.manifest, [receipt_of(pack("actor", 2, dict(unpack(second))), "before")])
