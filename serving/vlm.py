"""The VLM replica: a Ray Serve LLM server on vLLM that answers batches and takes new weights, with proof.

Importing this module loads vLLM. Whoever only talks to a running VLM imports `serving.client`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import ray
from PIL import Image
from ray import serve
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.transformers_utils.processor import cached_processor_from_config
from vllm.v1.engine.exceptions import EngineDeadError

from actors.site import Site, this_site
from serving.config import VlmConfig
from serving.engines.ray_llm import LLMConfig, LLMServer
from serving.engines.replica_engine import ReplicaEngine
from serving.gate import Gate
from serving.generation import IMAGE_BIAS, Answer, Batch, Question, Sampling, messages, word_ids
from serving.receiving import probe
from serving.receiving.replica_weights import ReplicaWeights
from weights.board import latest_weights, newer_weights
from weights.receipts import verify_receipts
from weights.transports.exchange import Address, Step

if TYPE_CHECKING:
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

    from weights.manifest import WeightUpdate
    from weights.receipts import WeightReceipt

_SEEDS_APART = 1024  # vLLM gives sample i of a request the seed s + i; neighbouring seeds must not share samples


class VlmServer(LLMServer):
    """One replica. OpenAI chat works as in `LLMServer`; `generate_batch` is the short way for many small questions."""

    _default_engine_cls = ReplicaEngine

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self, llm_config: LLMConfig, *, policy: str, settings: VlmConfig, board: str | None = None
    ) -> None:
        self._policy, self._settings = policy, settings
        self._board = board if settings.elastic else None  # where replicas come and go, a broadcast may miss one
        self._catching_up = asyncio.Lock()
        self._replica = serve.get_replica_context().replica_id.unique_id
        self._gate = Gate()
        await super().__init__(llm_config)
        self._processor = cached_processor_from_config(self._client.model_config)
        image_token = getattr(self._client.model_config.hf_config, "image_token_id", None)
        self._logit_bias = None if image_token is None else {image_token: IMAGE_BIAS}
        self._weights = ReplicaWeights(self._replica, policy, settings, self._client, self._gate, self._probe)
        if board is not None:
            newest = await asyncio.to_thread(latest_weights, board, policy, settings.call_deadline_s)
            if newest is not None:
                await self.apply_weights(newest)

    async def _start_engine(self) -> None:
        await self.engine.start()  # without the usage report of the base class, which starts a process of 0.4 GB

    @property
    def _client(self) -> AsyncLLM:
        return self.engine._engine_client

    @property
    def _name(self) -> str:
        return f"replica {self._replica!r} of the {self._policy} ({this_site()})"

    def _closed_by_loss(self) -> AbstractContextManager[None]:
        return self._gate.closed_by_loss(self._name, EngineDeadError)

    async def check_health(self) -> None:
        """Serve replaces the replica when this raises."""
        self._gate.refuse_if_closed()
        await super().check_health()

    async def identity(self) -> tuple[str, int, Site]:
        """Name of the replica, the version of the weights that it serves, and where it runs."""
        return self._replica, self._weights.version, this_site()

    async def generate_batch(self, batch: Batch) -> tuple[list[list[Answer]], float]:
        """Answer all questions with one version of the weights: `answers[question][sample]`.

        Returns:
            The answers, and the seconds that the engine took for them, without the wait for new weights.

        Raises:
            TimeoutError: not done within the batch's deadline; the engine then counts as hanging, and the replica
                answers nothing until Serve has replaced it.
            ReplicaBroken: that is what happened before, the engine's process ended, or there is no memory.
            ValueError: a question about an image that the batch does not hold.
        """
        with self._closed_by_loss():
            return await self._answers(batch)

    async def _answers(self, batch: Batch) -> tuple[list[list[Answer]], float]:
        images = [Image.fromarray(image) for image in batch.images]
        for question in batch.questions:
            if not 0 <= question.image < len(images):
                raise ValueError(f"question {question.text!r}: image {question.image} of {len(images)} does not exist")
        words = word_ids(self._processor.tokenizer, batch.sampling.words)
        await self._catch_up()
        async with self._gate.batch():
            began = time.monotonic()
            requests = (
                self._request(question, images[question.image], batch.sampling, list(words.values()))
                for question in batch.questions
            )
            try:
                async with asyncio.timeout(batch.deadline_s):
                    outputs = await asyncio.gather(*requests)
            except TimeoutError as error:
                late = f"{self._name} did not answer {len(batch.questions)} questions within {batch.deadline_s} s"
                self._gate.close(late)
                raise TimeoutError(late) from error
            version, seconds = self._weights.version, time.monotonic() - began
        return [[self._answer(sample, version, words) for sample in output.outputs] for output in outputs], seconds

    async def chat(self, *request: Any, **more: Any) -> Any:
        """As in `LLMServer`; refused where the replica holds an adapter, which such a request would leave out."""
        self._refuse_without_adapter()
        return await super().chat(*request, **more)

    async def completions(self, *request: Any, **more: Any) -> Any:
        """See `chat`."""
        self._refuse_without_adapter()
        return await super().completions(*request, **more)

    def _refuse_without_adapter(self) -> None:
        if self._weights.adapter is not None:
            raise ValueError(f"{self._name} holds an adapter that OpenAI requests leave out; use generate_batch")

    async def apply_weights(self, update: WeightUpdate) -> WeightReceipt:
        """Replace the weights between two batches and prove it. An adapter lies beside the weights of the model
        folder, or is added to them, as the settings say.

        An update that arrives damaged is refused and the old weights stay. If loading itself fails, the replica
        becomes unhealthy: it answers nothing until Serve has replaced it.

        Raises:
            WeightMismatch: other bytes than the manifest says, a name that was not consumed, or no effect.
            TimeoutError: the buckets, the batches under way or the engine took longer than `call_deadline_s`.
            ReplicaBroken: an earlier update failed, the engine's process has ended, or there is no memory.
        """
        with self._closed_by_loss():
            return await self._weights.apply(update)

    async def _catch_up(self) -> None:
        """Take the newest weights of the board, if it has newer ones."""
        if self._board is None:
            return
        where, deadline_s = (self._board, self._policy), self._settings.call_deadline_s
        async with self._catching_up:
            while newest := await asyncio.to_thread(newer_weights, *where, self._weights.version, deadline_s):
                verify_receipts(newest.manifest, [await self.apply_weights(newest)], [self._replica])

    async def receipt(self) -> WeightReceipt | None:
        """That of the last update; None before the first."""
        return self._weights.receipt

    async def address(self) -> Address:
        """Where a sender of weights finds this replica."""
        with self._closed_by_loss():
            gpus = await self._client.collective_rpc("gpu_uuid")
        return Address(self._replica, ray.get_runtime_context().get_node_id(), tuple(gpu for gpu in gpus if gpu))

    async def peak_gpu_bytes(self) -> int:
        """The most memory of one GPU that the engine's workers held since the last call; 0 on CPUs."""
        with self._closed_by_loss():
            peaks: list[int] = await self._client.collective_rpc("peak_gpu_bytes")
        return max(peaks)

    async def sleep(self, **_: Any) -> None:
        """Leave the GPU once the batches under way are done: the weights wait in CPU memory."""
        with self._closed_by_loss():
            async with self._gate.update(self._settings.call_deadline_s):
                await self._client.sleep(level=1)

    async def wakeup(self, **_: Any) -> None:
        """Be back on the GPU, with the same weights."""
        with self._closed_by_loss():
            await self._client.wake_up()

    async def transfer(self, step: Step, arguments: Mapping[str, Any]) -> tuple[str, Any] | None:
        """A step of an update that a sender pushes: the method of `ReplicaWeights`, with the argument for this replica.

        Returns:
            The replica's name and the step's answer; None if no argument is for this replica.
        """
        if self._replica not in arguments:
            return None
        with self._closed_by_loss():
            return self._replica, await getattr(self._weights, step)(arguments[self._replica])

    async def _probe(self) -> str:
        return probe.digest_of(await self._complete(probe.QUESTION, probe.IMAGE, probe.PARAMETERS))

    async def _request(self, question: Question, image: Image.Image, sampling: Sampling, words: list[int]) -> Any:
        parameters = SamplingParams(
            n=sampling.n,
            temperature=sampling.temperature,
            seed=None if question.seed is None else question.seed * _SEEDS_APART % 2**62,
            max_tokens=sampling.max_tokens,
            logprobs=len(words),  # besides the sampled token
            logprob_token_ids=words or None,
            logit_bias=self._logit_bias,
            structured_outputs=None if sampling.base else self._form(),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        return await self._complete(question.text, image, parameters, sampling.base)

    def _form(self) -> StructuredOutputsParams | None:
        form = self._settings.answer_form
        if form is None:
            return None
        return StructuredOutputsParams(regex=form.regex, json=None if form.regex else form.schema_text)

    async def _complete(
        self, text: str, image: Image.Image, parameters: SamplingParams, base: bool = False
    ) -> RequestOutput:
        settings = self._settings
        without = base and settings.adapter_rank is not None
        said = messages(text, settings.base_system_prompt if without else settings.system_prompt)
        prompt = {
            "prompt": self._processor.apply_chat_template(said, add_generation_prompt=True),
            "multi_modal_data": {"image": image},
        }
        final: RequestOutput | None = None
        adapter = None if without else self._weights.adapter
        async for output in self._client.generate(prompt, parameters, uuid4().hex, lora_request=adapter):
            final = output
        return final

    def _answer(self, sample: CompletionOutput, version: int, words: dict[str, int]) -> Answer:
        ids = list(sample.token_ids)
        return Answer(
            text=self._processor.tokenizer.decode(ids, skip_special_tokens=True),
            token_ids=ids,
            log_probs=[step[token].logprob for token, step in zip(ids, sample.logprobs, strict=True)],
            finished=sample.finish_reason == "stop",
            version=version,
            word_log_probs={word: sample.logprobs[0][token].logprob for word, token in words.items()},
        )


def engine_config(role: str, settings: VlmConfig) -> LLMConfig:
    """What Ray's LLM server makes its engine from, in the replica of a role."""
    job_variables = (ray.get_runtime_context().runtime_env or {}).get("env_vars", {})
    return LLMConfig(
        model_loading_config={"model_id": role, "model_source": settings.model},
        accelerator_type=None,
        engine_kwargs=settings.engine_arguments,
        placement_group_config={"bundles": settings.bundles},
        runtime_env={"env_vars": {**job_variables, **settings.environment}},
        log_engine_metrics=False,
    )
