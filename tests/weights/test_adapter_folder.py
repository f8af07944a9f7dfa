"""An exported adapter that is put beside its base again."""

from __future__ import annotations

import json
import re

import peft
import pytest
import torch
from transformers import AutoModelForImageTextToText

from learner.config import LearnerConfig
from learner.flow_policy import FlowPolicy
from learner.vlm_policy import VlmPolicy
from weights.adapter_folder import FILE, AdapterFolder, adapter_update
from weights.lora import adapter_tensors
from weights.lora_config import LoraConfig
from weights.manifest import pack

SMALL = 1e-5  # of B, as after the first step of the optimizer


def exported(policy, out):
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for name, tensor in adapter_tensors(policy.module).items():
            tensor.data = tensor.data.to(next(policy.module.parameters()).dtype)
            if "lora_B" in name:
                tensor.copy_(SMALL * torch.randn(tensor.shape, generator=generator))
    policy.export(out)
    sent = pack("any", 3, adapter_tensors(policy.module), adapter=policy.weights.spec())
    return sent, adapter_update(out / "lora", "any", 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model whose weights are those of bfloat16."""
    from learner.pretraining.vlm_model import build

    place = build(tmp_path_factory.mktemp("models") / "vlm")
    AutoModelForImageTextToText.from_pretrained(place, dtype=torch.bfloat16).save_pretrained(place)
    return place


def test_what_a_bfloat16_learner_sent_is_in_the_folder_and_the_card_loads_it(folder, tmp_path):
    lora = LoraConfig(rank=2, alpha=4.0, target_modules=r"model\.text_model\..*_proj")
    policy = VlmPolicy(folder, LearnerConfig(lora=lora, dtype="bfloat16", zero_stage=2))
    sent, update = exported(policy, tmp_path / "actor")
    assert update.manifest == sent.manifest  # every tensor, and the base that they belong to
    assert AdapterFolder.read(tmp_path / "actor" / "lora").base == str(folder)

    card = (tmp_path / "actor" / "README.md").read_text()
    assert re.search(r"\n\d% of what the adapter changed is left in the whole weights of this folder", card)
    assert 'PeftModel.from_pretrained(model, "actor/lora")' in card
    base = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    whole = AutoModelForImageTextToText.from_pretrained(tmp_path / "actor", dtype=torch.bfloat16).state_dict()
    changed = sum((whole[name] != tensor).sum().item() for name, tensor in base.state_dict().items())
    assert changed < 0.03 * sum(tensor.numel() for tensor in whole.values())
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "actor" / "lora", autocast_adapter_dtype=False)
    held = peft.get_peft_model_state_dict(loaded, save_embedding_layers=False)
    assert all(torch.equal(held[f"base_model.model.{n}"], t) for n, t in adapter_tensors(policy.module).items())


def test_a_float32_learners_whole_weights_hold_the_change_and_the_card_loads_them(folder, tmp_path):
    policy = VlmPolicy(folder, LearnerConfig(lora=LoraConfig(rank=2, alpha=4.0, target_modules=("v_proj",))))
    sent, update = exported(policy, tmp_path / "actor")
    assert update.manifest == sent.manifest
    card = (tmp_path / "actor" / "README.md").read_text()
    assert "PeftModel" not in card
    assert 'AutoModelForImageTextToText.from_pretrained("actor")' in card


def test_an_editors_adapter_is_in_its_folder(flux_folder, tmp_path):
    lora = LoraConfig(rank=2, alpha=4.0, target_modules=("to_q", "to_v"))
    sent, update = exported(FlowPolicy(flux_folder, LearnerConfig(lora=lora)), tmp_path / "editor")
    assert update.manifest == sent.manifest
    assert update.nbytes == sent.nbytes > 0


def test_a_folder_that_no_run_wrote_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"models\.adapters\.actor: .* holds no rlrig\.json"):
        adapter_update(tmp_path, "actor", 1)
    good = {"spec": {"rank": 1, "alpha": 1.0, "targets": [{"module": "a", "weight": "a.weight"}], "dtype": "float32",
                     "base": "x"}, "base": "b", "tensors": "t.safetensors", "prefix": ""}  # fmt: skip
    for broken in ("{", "[]", json.dumps({**good, "tensors": "../t.safetensors"}), json.dumps({**good, "spec": {}})):
        (tmp_path / FILE).write_text(broken)
        with pytest.raises(ValueError, match=r"is not what a run wrote: .*; export the run again"):
            AdapterFolder.read(tmp_path)
    (tmp_path / FILE).write_text(json.dumps(good))
    assert AdapterFolder.read(tmp_path).spec.targets[0].names == ("a.lora_A.weight", "a.lora_B.weight")
