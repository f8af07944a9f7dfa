"""Qwen2.5-VL, tiny and randomly initialised, on vLLM, against transformers."""

import importlib.util

import pytest
import torch

from learner.learner_config import LearnerConfig
from learner.samples import ActorSample
from learner.vlm_policy import VlmPolicy
from serving.vlm_actor import Actor
from tests.tiny_families import build_qwen_vl, images

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(
        importlib.util.find_spec("torchvision") is None,
        reason="vLLM's processor for Qwen2.5-VL imports torchvision, which is not installed: its PyPI wheel is a CUDA "
        "build, which cannot be imported beside the torch of vLLM's CPU build",
    ),
]


def test_vllms_log_probs_are_the_learners(tmp_path):
    import ray

    from serving.vlm_config import VlmConfig
    from serving.vlm_deployment import start_vlms, stop_vlms

    folder, pictures = build_qwen_vl(tmp_path / "qwen"), images(2)
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    try:
        client = start_vlms({"actor": VlmConfig(model=str(folder), max_tokens=8, max_model_len=512)})["actor"]
        answers = Actor(client).reflect(pictures, ["fix?"] * 2, n=2, temperature=1.0, seeds=[1, 2])
        stop_vlms(["actor"])
    finally:
        ray.shutdown()
    policy = VlmPolicy(folder, LearnerConfig(micro_batch=8))
    samples = [
        ActorSample(image, "fix?", answer.token_ids, answer.log_probs, 0.0)
        for image, row in zip(pictures, answers, strict=True)
        for answer in row
    ]
    (batch,) = policy.batches(samples)
    with torch.no_grad():
        assert policy.mismatch(batch, policy.evaluate(policy.module, batch).log_probs).max() < 1e-3
