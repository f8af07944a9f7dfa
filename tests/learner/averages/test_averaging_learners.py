"""Learners that keep an average of their weights: with it they send and export, without it they train."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from learner.config import LearnerConfig
from learner.ranks import Learner
from tests.adapted import EDITOR_LORA
from tests.learner.plain_update import RATE, weights
from weights.manifest import unpack

pytestmark = [pytest.mark.engines, pytest.mark.usefixtures("cluster")]

DECAY = 0.3  # reached at the fourth update


def averaged(learner: Learner) -> dict[str, torch.Tensor]:
    return dict(unpack(learner.weights(averaged=True)))


def test_an_actor_sends_and_exports_the_average_and_trains_as_without(vlm_folder, actor_samples, tmp_path):
    settings = {"learning_rate": RATE, "micro_batch": 8}
    with Learner("actor", vlm_folder, LearnerConfig(**settings)) as plain:
        digests = [plain.update(actor_samples).digest for _ in range(3)]
        assert plain.weights(averaged=True).manifest == plain.weights().manifest
    with Learner("actor", vlm_folder, LearnerConfig(ema=DECAY, **settings)) as learner:
        expected = {name: tensor.double().numpy() for name, tensor in weights(learner).items()}
        for n in range(1, 4):
            assert learner.update(actor_samples).digest == digests[n - 1]
            d = min(DECAY, n / (9 + n))
            for name, tensor in weights(learner).items():
                expected[name] = d * expected[name] + (1 - d) * tensor.double().numpy()
            if n == 2:
                learner.save(tmp_path / "state")
        sent = averaged(learner)
        held = weights(learner)
        assert any(not torch.equal(sent[name], held[name]) for name in sent)
        for name, tensor in sent.items():
            np.testing.assert_allclose(tensor.numpy(), expected[name], atol=1e-6)
        exported = AutoModelForImageTextToText.from_pretrained(learner.export(tmp_path / "actor")).state_dict()
        assert all(torch.equal(exported[name], tensor) for name, tensor in sent.items())
        assert learner.weights().manifest.digest == digests[-1]
        learner.load(tmp_path / "state")
        learner.update(actor_samples)
        assert all(torch.equal(tensor, sent[name]) for name, tensor in averaged(learner).items())
    with Learner("actor", vlm_folder, LearnerConfig(**settings)) as plain:  # a state with an average, without one
        plain.load(tmp_path / "state")
        assert plain.update(actor_samples).digest == digests[-1]


@pytest.mark.parametrize("zero_stage", [pytest.param(2, marks=pytest.mark.long), 3])
def test_ranks_that_split_an_editors_adapter_average_what_the_optimizer_has(
    zero_stage, flux_folder, editor_samples, tmp_path
):
    config = LearnerConfig(
        learning_rate=RATE, micro_batch=2, ranks=2, zero_stage=zero_stage, cpus_per_rank=0.5, dtype="bfloat16",
        lora=EDITOR_LORA, ema=DECAY,
    )  # fmt: skip
    with Learner("editor", flux_folder, config) as learner:
        versions = [weights(learner)]
        for _ in range(3):
            learner.update(editor_samples)
            versions.append(weights(learner))
        learner.save(tmp_path / "state")
        sent, held = averaged(learner), weights(learner)
        assert all(torch.equal(held[name], tensor) for name, tensor in versions[-1].items())
        expected = {name: tensor.double() for name, tensor in versions[0].items()}
        for n, version in enumerate(versions[1:], 1):
            d = min(DECAY, n / (9 + n))
            expected = {name: d * expected[name] + (1 - d) * version[name].double() for name in expected}
        for name, tensor in sent.items():  # bfloat16 rounds by up to 2⁻⁹ on the way there, and at the end
            torch.testing.assert_close(tensor.double(), expected[name], rtol=2**-7, atol=1e-6)
        assert any(not torch.equal(sent[name], held[name]) for name in sent)
        folder = learner.export(tmp_path / "editor")
        learner.update(editor_samples)
        after = learner.weights(averaged=True).manifest.digest
        learner.load(tmp_path / "state")
        assert all(torch.equal(tensor, sent[name]) for name, tensor in averaged(learner).items())
        learner.update(editor_samples)
        assert learner.weights(averaged=True).manifest.digest == after
    files = list((folder / "lora").glob("*.safetensors"))
    stored = {name.removeprefix("transformer."): tensor for file in files for name, tensor in load_file(file).items()}
    assert stored.keys() == sent.keys()
    assert all(torch.equal(stored[name], sent[name]) for name in sent)
