"""Adapters beside bfloat16 weights, in vLLM: what is served is what the learner computes, from the first update on."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean
from typing import Any
from uuid import uuid4

import pytest
import torch
from PIL import Image

from learner.config import LearnerConfig
from learner.samples import ActorSample
from learner.vlm_policy import VlmPolicy
from serving.config import VlmConfig
from serving.generation import messages
from tests.serving.layer_probe import inputs, share
from weights.lora import adapter_tensors
from weights.lora_config import LoraConfig
from weights.manifest import pack

pytestmark = pytest.mark.engines
LORA = LoraConfig(rank=4, alpha=8.0, target_modules=r"model\.text_model\..*_proj")
SCALING = LORA.alpha / LORA.rank
RATE = 1e-5  # of a step of Adam: that of the presets
LAYERS = {  # the learner's layer → vLLM's and its part
    "model.text_model.layers.1.mlp.up_proj": ("model.text_model.layers.1.mlp.gate_up_proj", 1),
    "model.text_model.layers.2.self_attn.v_proj": ("model.text_model.layers.2.self_attn.qkv_proj", 2),
    "model.text_model.layers.3.mlp.down_proj": ("model.text_model.layers.3.mlp.down_proj", 0),
}
CHUNKS = 128  # of `layer_probe.inputs`: an output's rounding is far larger than the change of one element


class Engine:
    """vLLM's engine alone, in a process of its own, and a loop to ask it in."""

    def __init__(self, settings: VlmConfig) -> None:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from serving.receiving.adapter_beside import AdapterBeside
        from serving.receiving.base_model import BaseModel

        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.vllm = AsyncLLM.from_engine_args(AsyncEngineArgs(model=settings.model, **settings.engine_arguments))
        self.adapter = AdapterBeside(BaseModel(settings.model), self.vllm, "actor")

    def ask(self, awaited):
        return self.loop.run_until_complete(asyncio.wait_for(awaited, 120.0))

    async def answer(self, policy: VlmPolicy, text: str, image: Image.Image, parameters: Any) -> Any:
        """What it says to a request, with its adapter."""
        said = policy.processor.apply_chat_template(messages(text), add_generation_prompt=True)
        request = {"prompt": said, "multi_modal_data": {"image": image}}
        adapter = self.adapter.request
        async for output in self.vllm.generate(request, parameters, uuid4().hex, lora_request=adapter):
            final = output
        return final

    def load(self, policy: VlmPolicy, version: int) -> None:
        """Give it the policy's adapter, and see that it holds it."""
        update = pack("actor", version, adapter_tensors(policy.module), adapter=policy.weights.spec())
        tensors = self.adapter.checked("test", update)
        for report in self.ask(self.adapter.load(update, tensors, lambda: None)):
            assert report["checksums"] == update.manifest.checksums


@pytest.fixture(scope="module")
def policy(folders) -> VlmPolicy:
    torch.set_num_threads(1)
    made = VlmPolicy(folders["actor"], LearnerConfig(lora=LORA, dtype="bfloat16", zero_stage=2))
    for tensor in adapter_tensors(made.module).values():
        tensor.data = tensor.data.bfloat16()  # as DeepSpeed holds it
    return made


@pytest.fixture(scope="module")
def engine(folders) -> Iterator[Engine]:
    settings = VlmConfig(
        model=str(folders["actor"]),
        dtype="bfloat16",
        adapter_rank=LORA.rank,
        engine={"worker_extension_cls": "tests.serving.layer_probe.LayerProbe"},
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.environment.items():
            patch.setenv(name, value)
        made = Engine(settings)
        try:
            yield made
        finally:
            made.vllm.shutdown()
            made.loop.run_until_complete(asyncio.sleep(0.5))  # its tasks end
            made.loop.close()
            multiprocessing.active_children()  # collects the engine's process, which else stays as a zombie


@torch.no_grad()
def step(policy: VlmPolicy, seed: int, rate: float) -> None:
    """What one step of Adam does to A and B at first: `rate` up or down for each element."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in adapter_tensors(policy.module).values():
        tensor += rate * torch.randint(0, 2, tensor.shape, generator=generator).mul(2).sub(1)


@contextmanager
def as_initialised(policy: VlmPolicy) -> Iterator[None]:
    before = {name: tensor.detach().clone() for name, tensor in adapter_tensors(policy.module).items()}
    yield
    with torch.no_grad():
        for name, tensor in adapter_tensors(policy.module).items():
            tensor.copy_(before[name])


@torch.no_grad()
def learners_share(policy: VlmPolicy, layer: str) -> float:
    found, wanted = 0.0, 0.0
    part = policy.module.get_submodule(layer)
    down, up = part.lora_A["default"].weight, part.lora_B["default"].weight
    for seed in range(CHUNKS):
        x = inputs(down.shape[1], seed)
        exact = SCALING * (x.double() @ down.double().T @ up.double().T)
        one, all_ = share(part(x).double() - part.base_layer(x).double(), exact)
        found, wanted = found + one, wanted + all_
    return found / wanted


def test_the_first_update_changes_a_served_layer_as_it_changes_the_learners(policy, engine):
    with as_initialised(policy):
        step(policy, 0, RATE)
        engine.load(policy, 1)
        for layer, (module, part) in LAYERS.items():
            (served,) = engine.ask(engine.vllm.collective_rpc("served_share", args=(module, part, SCALING, CHUNKS)))
            assert served == pytest.approx(learners_share(policy, layer), rel=0.02)


def test_the_proving_question_is_answered_in_another_way_after_the_first_update(policy, engine):
    from serving.receiving import probe

    with as_initialised(policy):
        digests = []
        for seed in range(3):
            step(policy, seed, RATE)
            engine.load(policy, 1 + seed)
            found = engine.ask(engine.answer(policy, probe.QUESTION, probe.IMAGE, probe.PARAMETERS))
            digests.append(probe.digest_of(found))
        assert len(set(digests)) == 3


def test_log_probs_differ_no_more_after_thirty_updates_than_after_the_first(policy, engine, images):
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    text = "goal : red circle left of blue square . unmet : red circle left of blue square . fix ?"
    parameters = SamplingParams(
        n=8, temperature=1.0, max_tokens=12, logprobs=0, seed=1, output_kind=RequestOutputKind.FINAL_ONLY,
        logit_bias={policy.module.config.image_token_id: -100.0},
    )  # fmt: skip

    def answers() -> list[ActorSample]:
        final = engine.ask(engine.answer(policy, text, Image.fromarray(images[0]), parameters))
        return [
            ActorSample(
                images[0],
                text,
                list(each.token_ids),
                [at[token].logprob for token, at in zip(each.token_ids, each.logprobs, strict=True)],
                0.0,
            )
            for each in final.outputs
        ]

    def difference(samples: list[ActorSample]) -> float:
        gaps = []
        for batch in policy.batches(samples):
            with torch.no_grad():
                gaps.append(policy.mismatch(batch, policy.evaluate(policy.module, batch).log_probs))
        return float(torch.cat(gaps).mean())

    gaps = []
    with as_initialised(policy):
        for index in range(30):
            step(policy, index, 1e-3)  # so large that the adapter matters soon
            engine.load(policy, index + 2)
            engine.ask(engine.vllm.reset_prefix_cache())
            samples = answers()
            gaps.append(difference(samples))
        policy.module.disable_adapters()
        without = difference(samples)
        policy.module.enable_adapters()
    assert max(gaps) <= 0.012
    assert mean(gaps[-10:]) <= mean(gaps[:10]) + 0.003
    assert without > 5 * mean(gaps)  # the adapter was served
