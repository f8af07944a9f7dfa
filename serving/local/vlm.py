"""A VLM in this process: transformers answers what a `VlmClient` would ask vLLM."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import transformers
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    ProcessorMixin,
)

from serving.config import VlmConfig
from serving.generation import Answer, Question, Sampling, VlmError, messages, word_ids
from serving.local.token_choice import TokenChoice
from weights.adapter_holder import AdapterHolder
from weights.holder import WeightHolder
from weights.lora import without_adapter

if TYPE_CHECKING:
    import numpy as np

    from weights.manifest import WeightUpdate

Row = tuple[Question, Image.Image, int]
"""A question, its image, and which of its samples."""


class LocalVlm:
    """The interface of a `VlmClient`, as far as an Actor and a Checker need it.

    It prompts as a replica does, forbids the same tokens, and says the same log-probabilities; greedy answers are
    vLLM's. A sample comes from a torch generator that its question's seed starts: equal seeds give equal samples, but
    not those that vLLM draws.

    Args:
        role: how errors call it.
        settings: those of the deployment. What places a replica on a machine has no meaning here.
        adapter: a trained adapter, to be put beside the weights as version 1.

    Attributes:
        compute_seconds: seconds that it worked on questions so far.

    Raises:
        VlmError: no model can be loaded from `settings.model`.
        WeightMismatch: the adapter does not fit the model.
    """

    def __init__(self, role: str, settings: VlmConfig, adapter: WeightUpdate | None = None) -> None:
        self.role, self.settings, self._deployed = role, settings, settings
        self.compute_seconds, self._version = 0.0, 0
        try:
            self._model, self._processor = _load(settings)
        except Exception as error:  # of many packages, as the folder is damaged
            raise VlmError(f"the {role} failed to start from {settings.model!r}: {error}") from error
        tokenizer, stops = self._processor.tokenizer, self._model.generation_config.eos_token_id
        self._stops = {tokenizer.eos_token_id, *(stops if isinstance(stops, list) else [stops])} - {None}
        # The folder's own defaults, such as a penalty for repeated words, are no part of the policy.
        self._model.generation_config = GenerationConfig()
        if adapter is not None:
            before = WeightHolder(role, adapter.manifest.policy, self._model.state_dict(keep_vars=True)).receipt
            holder = AdapterHolder(self._model, before)
            self._version = holder.load(adapter.manifest, holder.check(adapter)).version

    def shared(self, role: str, settings: VlmConfig) -> LocalVlm:
        """The same replica in another role, as `VlmClient.shared`."""
        other = copy.copy(self)
        other.role, other.settings, other.compute_seconds = role, settings, 0.0
        return other

    def beside(self, role: str, settings: VlmConfig) -> LocalVlm:
        """Another deployment of the same folder, which the memory is used for once. It has no adapter."""
        assert self._version == 0, "its weights are then not those of the folder alone"
        other = self.shared(role, settings)
        other._deployed = settings
        return other

    def generate(
        self, images: Sequence[np.ndarray], questions: Sequence[Question], sampling: Sampling
    ) -> list[list[Answer]]:
        """Answers as `result[question][sample]`.

        Raises:
            ValueError: a question about an image that is not there, or one that leaves no room for an answer.
        """
        began = time.monotonic()
        pictures = [Image.fromarray(image) for image in images]
        for question in questions:
            if not 0 <= question.image < len(pictures):
                raise ValueError(f"question {question.text!r}: image {question.image} of {len(pictures)} is not there")
        rows = [(question, pictures[question.image], number) for question in questions for number in range(sampling.n)]
        size = self._deployed.max_num_seqs
        left_out = sampling.base and self._version > 0
        with torch.no_grad(), without_adapter(self._model) if left_out else nullcontext():
            answers = [
                answer
                for start in range(0, len(rows), size)
                for answer in self._answers(rows[start : start + size], sampling)
            ]
        self.compute_seconds += time.monotonic() - began
        return [answers[start : start + sampling.n] for start in range(0, len(answers), sampling.n)]

    def _answers(self, rows: Sequence[Row], sampling: Sampling) -> list[Answer]:
        """One answer to each row, in one forward pass for each token."""
        settings = self._deployed
        plain = sampling.base and settings.adapter_rank is not None
        system = settings.base_system_prompt if plain else settings.system_prompt
        inputs = self._processor(
            text=[
                self._processor.apply_chat_template(messages(question.text, system), add_generation_prompt=True)
                for question, _, _ in rows
            ],
            images=[[picture] for _, picture, _ in rows],
            add_special_tokens=False,  # the chat template has written them
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        rooms = self._rooms(inputs["attention_mask"].sum(1).tolist(), sampling.max_tokens)
        words = word_ids(self._processor.tokenizer, sampling.words)
        choice = TokenChoice(
            [(question.seed, number) for question, _, number in rows],
            sampling.temperature,
            getattr(self._model.config, "image_token_id", None),
            list(words.values()),
        )
        plan = GenerationConfig(
            max_new_tokens=max(rooms),
            eos_token_id=sorted(self._stops) or None,
            pad_token_id=self._processor.tokenizer.pad_token_id or 0,  # stands behind an answer that has ended
        )
        self._model.generate(**inputs, generation_config=plan, logits_processor=LogitsProcessorList([choice]))
        answers = []
        for row, room in enumerate(rooms):
            ids, log_probs = choice.row(row, room, self._stops)
            answers.append(
                Answer(
                    text=self._processor.tokenizer.decode(ids, skip_special_tokens=True),
                    token_ids=ids,
                    log_probs=log_probs,
                    finished=ids[-1] in self._stops,
                    version=self._version,
                    word_log_probs=dict(zip(words, choice.words[row], strict=True)),
                )
            )
        return answers

    def _rooms(self, prompts: Sequence[int], most: int) -> list[int]:
        """Tokens that the answer to each prompt may have, from the prompts' tokens."""
        text = self._model.config.get_text_config()
        context = self._deployed.max_model_len or getattr(text, "max_position_embeddings", None)
        if context is None:
            return [most] * len(prompts)
        if (longest := max(prompts)) >= context:
            raise ValueError(
                f"a question to the {self.role} is {longest} tokens, which leaves no room in its context of {context}"
            )
        return [min(most, context - prompt) for prompt in prompts]


def _load(settings: VlmConfig) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Model and processor of a folder.

    Raises:
        Exception: it cannot be loaded.
    """
    transformers.utils.logging.disable_progress_bar()
    dtype = getattr(torch, settings.dtype)
    model, found = AutoModelForImageTextToText.from_pretrained(settings.model, dtype=dtype, output_loading_info=True)
    if missing := sorted(found["missing_keys"]):  # transformers would go on with random numbers
        raise ValueError(f"{len(missing)} tensors are not in the folder, the first {missing[0]!r}")
    return model.eval(), AutoProcessor.from_pretrained(settings.model)
