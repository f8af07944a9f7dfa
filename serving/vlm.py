"""The VLM replica: a Ray Serve LLM server on vLLM that answers batches and takes new weights, with proof.

Importing this module loads vLLM. Whoever only talks to a running VLM imports `serving.vlm_client`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import ray
from PIL import Image
from ray import serve
from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
from ray.serve.llm import LLMConfig, build_llm_deployment
from ray.serve.llm.deployment import LLMServer
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.transformers_utils.processor import cached_processor_from_config
from vllm.v1.engine.exceptions import EngineDeadError

from actors.site import Site, this_site
from learner.receipts import verify_receipts
from learner.transports.exchange import Address, Step
from learner.weight_board import latest_weights, newest_version
from serving import probe
from serving.gate import Gate
from serving.generation import Answer, Batch, Question, Sampling
from serving.replica_count import CALLS, replica_count
from serving.replica_weights import ReplicaWeights
from serving.vlm_config import VlmConfig

if TYPE_CHECKING:
    from ray.serve import Application
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

    from learner.receipts import WeightReceipt
    from learner.weights import WeightUpdate

_CALLS_AT_ONCE = 3  # of the endpoint, for each replica; where there are more, Serve starts another one
_SEEDS_APART = 1024  # vLLM gives sample i of a request the seed s + i; neighbouring seeds must not share samples


class InProcessEngine(VLLMEngine):
    """vLLM with its only CPU worker inside the engine's process, which saves a process of 0.8 GB and 8 s of imports."""

    def _prepare_engine_config(self, callback_ctx: Any) -> Any:
        arguments, frontend, config = super()._prepare_engine_config(callback_ctx)
        if config.parallel_config.world_size == 1 and config.device_config.device_type == "cpu":
            config.parallel_config.distributed_executor_backend = "uni"
        return arguments, frontend, config

    async def start(self) -> None:
        # A folder needs no download; looking for one would start another process with all imports.
        model = self.llm_config.get_engine_config().actual_hf_model_id
        self.llm_config.get_or_create_callback().ctx.run_init_node = not Path(model).is_dir()
        await super().start()


class VlmServer(LLMServer):
    """One replica. OpenAI chat works as in `LLMServer`; `generate_batch` is the short way for many small questions."""

    _default_engine_cls = InProcessEngine

    async def __init__(
        self, llm_config: LLMConfig, *, policy: str, settings: VlmConfig, board: str | None = None
    ) -> None:
        self._policy, self._settings = policy, settings
        self._board = board if settings.elastic else None  # where replicas come and go, a broadcast may miss one
        self._catching_up = asyncio.Lock()
        self._replica = serve.get_replica_context().replica_id.unique_id
        self._gate = Gate()
        await super().__init__(llm_config)
        self._processor = cached_processor_from_config(self._client.model_config)
        # An answer with an image placeholder in it could not be read again, by the learner least of all.
        image_token = getattr(self._client.model_config.hf_config, "image_token_id", None)
        self._logit_bias = None if image_token is None else {image_token: -100.0}
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
        words = self._word_ids(batch.sampling.words)
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

    async def apply_weights(self, update: WeightUpdate) -> WeightReceipt:
        """Replace the weights between two batches and prove it. An adapter is added to the weights of the model folder,
        and what comes out is loaded.

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
        where = (self._board, self._policy, self._settings.call_deadline_s)
        async with self._catching_up:
            while await asyncio.to_thread(newest_version, *where) > self._weights.version:
                newest = await asyncio.to_thread(latest_weights, *where)
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
            return max(await self._client.collective_rpc("peak_gpu_bytes"))

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

    def _word_ids(self, words: tuple[str, ...]) -> dict[str, int]:
        tokenizer, ids = self._processor.tokenizer, {}
        for word in words:
            tokens = tokenizer.encode(word, add_special_tokens=False)
            if len(tokens) == 1 and tokens[0] != tokenizer.unk_token_id and tokens[0] not in ids.values():
                ids[word] = tokens[0]
        return ids

    async def _request(self, question: Question, image: Image.Image, sampling: Sampling, words: list[int]) -> Any:
        parameters = SamplingParams(
            n=sampling.n,
            temperature=sampling.temperature,
            seed=None if question.seed is None else question.seed * _SEEDS_APART % 2**62,
            max_tokens=sampling.max_tokens,
            logprobs=len(words),  # besides the sampled token
            logprob_token_ids=words or None,
            logit_bias=self._logit_bias,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        return await self._complete(question.text, image, parameters)

    async def _complete(self, text: str, image: Image.Image, parameters: SamplingParams) -> RequestOutput:
        content = [{"type": "image"}, {"type": "text", "text": text}]
        prompt = {
            "prompt": self._processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            ),
            "multi_modal_data": {"image": image},
        }
        final: RequestOutput | None = None
        async for output in self._client.generate(prompt, parameters, uuid4().hex):
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


def build_vlm(
    role: str,
    settings: VlmConfig,
    board: str | None = None,
    labels: Mapping[str, str] | None = None,
    max_replicas: int | None = None,
) -> Application:
    """The Serve application of one VLM; `role` names the application and the policy whose weights it takes, `board` the
    `WeightBoard` that a replica takes the newest ones from when it starts. It runs only on nodes with all `labels`.
    With `max_replicas`, or that of the settings, requests decide how many there are, from `settings.replicas` on."""
    most, at_once = (max_replicas, _CALLS_AT_ONCE) if max_replicas else (settings.max_replicas, CALLS)
    job_variables = (ray.get_runtime_context().runtime_env or {}).get("env_vars", {})
    config = LLMConfig(
        model_loading_config={"model_id": role, "model_source": settings.model},
        accelerator_type=None,
        engine_kwargs=settings.engine_arguments,
        placement_group_config={"bundles": settings.bundles},
        runtime_env={"env_vars": {**job_variables, **settings.environment}},
        deployment_config={
            **replica_count(settings.replicas, most, at_once),
            "ray_actor_options": {"num_cpus": 0},  # the placement group's bundle holds the replica's share
            "graceful_shutdown_timeout_s": 5,
            "health_check_period_s": 5,
            "health_check_timeout_s": 10,
            "max_constructor_retry_count": 1,  # a model that cannot be loaded fails in the same way again
            "logging_config": {"log_level": "WARNING", "enable_access_log": False},
        },
        log_engine_metrics=False,
    )
    return build_llm_deployment(
        config,
        deployment_cls=VlmServer,
        bind_kwargs={"policy": role, "settings": settings, "board": board},
        override_serve_options={"placement_group_bundle_label_selector": [dict(labels)]} if labels else None,
    )
