"""Learners and workers on a GPU, with tiny randomly initialised models: they agree, and adapters come across."""

from __future__ import annotations

import numpy as np
import peft
import pytest
import ray
import torch
from transformers import AutoModelForImageTextToText

from actors.flow_path import FlowSde
from actors.inverse_diffuser import InverseDiffuser
from benchmarks.tiny_families.qwen_vl import build_qwen_vl
from learner.config import LearnerConfig
from learner.ranks import Learner
from learner.samples import ActorSample, EditorSample
from learner.vlm_policy import VlmPolicy
from tests.learner.plain_update import RATE, weights
from tests.local_cluster import local_ray
from tests.tiny_families import EDITORS, images
from weights.lora_config import LoraConfig
from weights.receipts import verify_receipts

pytestmark = [pytest.mark.engines, pytest.mark.gpu]
WIDTH = 2048
BF16 = {"dtype": "bfloat16", "zero_stage": 2}
PROMPTS = ["move the red circle left of the blue square", "make it green", "make it green"]


@pytest.fixture(scope="module")
def gpu():
    """A Ray whose one GPU the learner has to itself; the workers of these tests are in this process."""
    with local_ray(4, num_gpus=1):
        yield


def rollout(worker: InverseDiffuser) -> list[EditorSample]:
    sources = [images(2)[k] for k in (0, 1, 1)]
    edits = worker.edit(sources, PROMPTS, [1, 2, 3], FlowSde(eta=0.9, steps=4, window=(0, 2)))
    return [
        EditorSample(i, p, e.path, k - 1.0) for k, (i, p, e) in enumerate(zip(sources, PROMPTS, edits, strict=True))
    ]


@pytest.mark.parametrize("name", list(EDITORS))
def test_an_editor_s_learner_computes_as_its_worker_and_the_worker_takes_the_adapter(gpu, name, tmp_path):
    family = EDITORS[name]
    folder = family.build(tmp_path / "model")
    lora = LoraConfig(rank=2, alpha=4.0, target_modules=family.target_modules)
    worker = InverseDiffuser(folder, replica="e0", device="cuda", dtype="bfloat16", **family.settings)
    config = LearnerConfig(lora=lora, micro_batch=2, learning_rate=RATE, gpus_per_rank=1, **BF16)
    with Learner("editor", folder, config, family.settings) as learner:
        stats = learner.update(rollout(worker))
        assert stats.logprob_mismatch_max < 0.02
        assert stats.tensors_changed > 0
        assert stats.gpu_bytes > 1 << 20
        update = learner.weights(1)
        verify_receipts(update.manifest, [worker.apply_weights(update)], ["e0"])
        assert learner.update(rollout(worker)).logprob_mismatch_max < 0.02
    assert worker.peak_gpu_bytes() > 1 << 20


def answers(policy: VlmPolicy) -> list[ActorSample]:
    """Answers of drawn tokens, with the log-probabilities that the policy gives them."""
    drawn = np.random.default_rng(5)
    found = [
        ActorSample(images(4)[k], "fix?", drawn.integers(40, 90, 3 + k).tolist(), [0.0] * (3 + k), k - 1.5)
        for k in range(4)
    ]
    with torch.no_grad():
        for sample in found:
            (batch,) = policy.batches([sample])
            sample.log_probs[:] = policy.evaluate(policy.module, batch).log_probs[0].tolist()
    return found


@pytest.mark.parametrize(("settings", "limit"), [({}, 1e-3), (BF16, 0.1)], ids=["float32", "bfloat16"])
def test_the_actor_s_learner_computes_as_on_the_cpu_and_exports_what_it_trained(gpu, settings, limit, tmp_path):
    folder = build_qwen_vl(tmp_path / "model")
    samples = answers(VlmPolicy(folder, LearnerConfig(micro_batch=8)))
    lora = LoraConfig(rank=2, alpha=4.0, target_modules=("q_proj", "v_proj", "down_proj", "qkv"))
    config = LearnerConfig(lora=lora, micro_batch=2, learning_rate=RATE, gpus_per_rank=1, **settings)
    with Learner("actor", folder, config) as learner:
        before = weights(learner)
        stats = learner.update(samples)
        assert stats.logprob_mismatch_max < limit
        held = weights(learner)
        assert {name for name in held if not torch.equal(held[name], before[name])}
        learner.export(tmp_path / "actor")
    base = AutoModelForImageTextToText.from_pretrained(folder)
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "actor" / "lora")
    exported = peft.get_peft_model_state_dict(loaded, save_embedding_layers=False)
    assert all(torch.equal(exported[f"base_model.model.{name}"], t.to(torch.float32)) for name, t in held.items())


@ray.remote(num_gpus=0.5, max_calls=1, runtime_env={"env_vars": {"DS_ACCELERATOR": "cuda"}})
def by_turns(sleeps: bool) -> tuple[list[int], list[torch.Tensor]]:
    """Bytes on the GPU of a learner at work, asleep and back at work, and its weights after two steps."""
    from learner.engine import join, listen, new_engine, step
    from learner.offload import come_back, leave

    config = LearnerConfig(learning_rate=RATE, gpus_per_rank=1, **BF16)
    store = listen("127.0.0.1", 1, 60)
    join(store, "127.0.0.1", store.port, 0, 1, 60, config.device)
    torch.manual_seed(0)
    module = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2)))
    module.to(config.device, torch.bfloat16)
    engine, held = new_engine(module, config), []
    for _ in range(2):
        engine.set_gradient_accumulation_boundary(True)
        engine.backward(engine(torch.ones(1, WIDTH, device=config.device, dtype=torch.bfloat16)).sum())
        step(engine, 1, RATE)
        held.append(torch.cuda.memory_allocated())
        if sleeps and len(held) == 1:
            leave(engine, module)
            held.append(torch.cuda.memory_allocated())
            come_back(engine, module, config.device)
    return held, [parameter.detach().cpu() for parameter in module.parameters()]


def test_a_learner_that_sleeps_gives_its_gpu_back_and_learns_what_one_learns_that_stays(gpu):
    asked = [by_turns.remote(sleeps) for sleeps in (False, True)]
    (_, stayed), ((at_work, asleep, back), slept) = ray.get(asked, timeout=180)
    states = 2 * WIDTH**2 * (2 + 3 * 4)  # bfloat16, and AdamW's copy and moments in float32
    assert at_work >= states
    assert at_work - asleep >= 0.9 * states
    assert back >= states
    for one, other in zip(stayed, slept, strict=True):
        assert torch.equal(one, other)
