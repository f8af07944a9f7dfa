"""What a process that trains proves of what it samples with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from learner.config import LearnerConfig
from learner.flow_policy import FlowPolicy
from tests.adapted import EDITOR_LORA
from weights.adapter_spec import Target
from weights.manifest import Manifest, WeightMismatch, pack
from weights.receipts import make_receipt, verify_receipts
from weights.shared_adapter import SharedAdapter


@pytest.fixture
def policy(flux_folder: Path) -> FlowPolicy:
    return FlowPolicy(flux_folder, LearnerConfig(lora=EDITOR_LORA))


@pytest.fixture
def shared(policy: FlowPolicy) -> SharedAdapter:
    held = policy.weights.tensors()
    return SharedAdapter(policy.module, make_receipt("e0", "editor", 0, {name: held[name] for name in list(held)[:1]}))


def manifest(policy: FlowPolicy, version: int, name: str = "editor") -> Manifest:
    return pack(name, version, policy.weights.tensors(), adapter=policy.weights.spec()).manifest


@torch.no_grad()
def step(policy: FlowPolicy) -> torch.Tensor:
    """Change one matrix of the adapter, as an update does."""
    name, tensor = list(policy.weights.tensors().items())[-1]
    assert "lora_" in name
    tensor += 0.5
    return tensor


def test_what_the_learner_says_and_what_is_held_are_the_same_tensors(policy, shared):
    for version in (1, 2, 3):
        step(policy)
        told = manifest(policy, version)
        receipt = shared.confirm(told)
        verify_receipts(told, [receipt], ["e0"])
        assert (receipt.previous_version, receipt.transport) == (version - 1, "shared")
        assert receipt.base == policy.weights.spec().base


def test_an_update_that_changed_nothing_is_no_proof(policy, shared):
    shared.confirm(manifest(policy, 1))
    told = manifest(policy, 2)
    with pytest.raises(WeightMismatch, match="the update changed nothing"):
        verify_receipts(told, [shared.confirm(told)])


def test_other_values_are_refused_by_name_and_the_version_stays(policy, shared):
    told = manifest(policy, 1)
    step(policy)
    with pytest.raises(WeightMismatch, match=r"replica 'e0', policy 'editor' version 1: tensor '.*lora_[AB]\.weight'"):
        shared.confirm(told)
    assert shared.receipt.version == 0


def test_another_policy_all_weights_and_another_base_are_refused(policy, shared):
    with pytest.raises(WeightMismatch, match="this replica trains policy 'editor'"):
        shared.confirm(manifest(policy, 1, "actor"))
    whole = pack("editor", 1, dict(policy.module.named_parameters())).manifest
    with pytest.raises(WeightMismatch, match="these are all weights"):
        shared.confirm(whole)
    told = manifest(policy, 1)
    with torch.no_grad():
        policy.module.get_submodule(told.adapter.targets[0].module).get_base_layer().weight += 1
    with pytest.raises(WeightMismatch, match="was trained on weights with digest"):
        shared.confirm(told)
    elsewhere = replace(told, adapter=replace(told.adapter, targets=(Target("nowhere", "nowhere.weight"),)))
    with pytest.raises(WeightMismatch, match="no adapter in layer 'nowhere'"):
        shared.confirm(elsewhere)
