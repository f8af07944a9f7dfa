"""The Actor as the learner sees it: a vision-language model that gives each sampled token its log-probability."""

from __future__ import annotations

import copy
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft.utils import SAFETENSORS_WEIGHTS_NAME as _TENSORS
from PIL import Image
from safetensors.torch import save_file
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from actors.gpu import avoid_cudnn_attention
from actors.repeats import without_repeats
from learner.config import LearnerConfig
from learner.samples import ActorSample
from learner.saving.model_card import actor_card, write_card
from learner.trained_weights import TrainedWeights, folder_names
from learner.vlm_loss import token_log_probs, vlm_loss
from scenes.dialogues.dialogue import SHAPES, Dialogue
from serving.answers.form import AnswerForm
from serving.answers.grammar import AnswerGrammar, unpacked
from serving.generation import IMAGE_BIAS, messages
from weights.adapter_folder import AdapterFolder
from weights.lora import ADAPTER, starting_model

_PEFT = "base_model.model."  # before the names in an adapter's file


@dataclass(frozen=True)
class AnswerBatch:
    """One forward pass: B answers of at most T tokens, padded on the right, to D different prompts, each with an image.

    `inputs` are the language model's arguments, `images` those of the vision encoder, one image for each
    prompt. `prompts` (B,) says which of the D prompts each answer belongs to, `image_tokens` (D,) how many tokens its
    image takes. `positions` (B, T) says where in the sequence the logits of each token stand, `token_ids`, `mask` and
    `rollout_log_probs` are (B, T), `advantages` (B,). `allowed` (B, T, ⌈V / 32⌉) says which tokens the answer's form
    allowed, see `AnswerGrammar.allowed`; None: all.
    """

    inputs: dict[str, torch.Tensor]
    images: dict[str, torch.Tensor]
    prompts: list[int]
    image_tokens: list[int]
    positions: torch.Tensor
    token_ids: torch.Tensor
    mask: torch.Tensor
    rollout_log_probs: torch.Tensor
    advantages: torch.Tensor
    allowed: torch.Tensor | None = None

    @property
    def count(self) -> int:
        """Tokens that the loss is a mean over."""
        return int(self.mask.sum())

    @property
    def term_positions(self) -> list[int]:
        """Position in its answer of each of these tokens, in the order of `VlmPolicy.mismatch`."""
        return self.mask.nonzero()[:, 1].tolist()


@dataclass(frozen=True)
class AnswerEvaluation:
    """Log-probabilities (B, T) of the sampled tokens; zero where the mask is false."""

    log_probs: torch.Tensor


class VlmPolicy:
    """A transformers image-text-to-text model, its processor, and the Actor's loss.

    Args:
        model_path: folder or hub id.
        config: settings of the loss and of the adapter. A KL coefficient above 0 keeps a frozen copy of the model as it
            is on disk; with an adapter, the model without it is that.

        system_prompt: before each request, as in the rollout.
        dialogue: of the rollout, for the call that the model card shows.
        answer_form: that the answers were sampled in.

    Attributes:
        module: the model.
        weights: what of it trains.
        reference: the frozen copy, or None.

    Raises:
        OSError, ValueError: no model or processor can be loaded from there, or the adapter does not fit.
    """

    def __init__(
        self,
        model_path: str | Path,
        config: LearnerConfig,
        system_prompt: str | None = None,
        dialogue: Dialogue = SHAPES,
        answer_form: AnswerForm | None = None,
    ) -> None:
        avoid_cudnn_attention()
        self.config, self._base, self._system_prompt, self._dialogue = config, model_path, system_prompt, dialogue
        self.processor = AutoProcessor.from_pretrained(str(model_path))
        dtype = getattr(torch, config.dtype)
        self.module = AutoModelForImageTextToText.from_pretrained(str(model_path), dtype=dtype).eval()
        self.module.to(config.device)
        copied = config.kl_coefficient > 0 and config.lora is None
        self._checkpointed = self._checkpointed_layers() if config.gradient_checkpointing else []
        self.reference = copy.deepcopy(self.module).requires_grad_(False) if copied else None
        self._grammar = None if answer_form is None else self._compiled(answer_form)
        self.weights = TrainedWeights(self.module, config.lora, config.seed, folder_names(self.module))

    def to(self, device: str) -> None:
        """Move all that it holds."""
        self.module.to(device)
        if self.reference is not None:
            self.reference.to(device)

    def batches(self, samples: Sequence[ActorSample]) -> list[AnswerBatch]:
        """The samples in forward passes of at most `config.micro_batch` answers."""
        size = self.config.micro_batch
        return [self._collate(samples[start : start + size]) for start in range(0, len(samples), size)]

    def evaluate(self, network: PreTrainedModel, batch: AnswerBatch) -> AnswerEvaluation:
        """Log-probabilities under `network` (this policy's module, or what wraps it), of the distribution that answers
        are sampled from; see `serving.generation.Answer`."""
        for layer in self._checkpointed:  # transformers does it in training mode; what is inside of them stays as it is
            layer.training = True
        features = network.get_image_features(**batch.images, return_dict=True)
        features.pooler_output = _for_answers(features.pooler_output, batch)
        if layers := getattr(features, "deepstack_features", None):  # Qwen3-VL adds these to its first text layers
            features.deepstack_features = [_for_answers(layer, batch) for layer in layers]
        logits = network(**batch.inputs, mm_encoder_outputs={"image": features}, use_cache=False).logits
        picked = logits.gather(1, batch.positions.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))
        picked[..., self.module.config.image_token_id] += IMAGE_BIAS
        if batch.allowed is not None:
            picked = picked.masked_fill(~unpacked(batch.allowed, picked.shape[-1]), -torch.inf)
        log_probs = token_log_probs(picked, batch.token_ids, self.config.temperature)
        return AnswerEvaluation(torch.where(batch.mask, log_probs, 0.0))

    def anchor(self, evaluation: AnswerEvaluation) -> torch.Tensor:
        """What the loss compares with, when the evaluation is by the weights before the first optimizer step."""
        return evaluation.log_probs

    def loss(
        self, batch: AnswerBatch, evaluation: AnswerEvaluation, behaviour_log_probs: torch.Tensor, normaliser: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """The Actor's loss for this part of a batch of `normaliser` tokens; see `vlm_loss`."""
        reference = None
        if self.config.kl_coefficient > 0:
            with starting_model(self.module, self.reference) as network:
                reference = self.evaluate(network, batch).log_probs
        return vlm_loss(
            evaluation.log_probs,
            behaviour_log_probs,
            batch.rollout_log_probs,
            batch.advantages,
            batch.mask,
            clip_low=self.config.clip_low,
            clip_high=self.config.clip_high,
            importance_cap=self.config.importance_cap,
            kl_coefficient=self.config.kl_coefficient,
            reference_log_probs=reference,
            normaliser=normaliser,
            dual_clip=self.config.dual_clip,
            kl_bound=self.config.kl_bound,
        )

    def mismatch(self, batch: AnswerBatch, behaviour_log_probs: torch.Tensor) -> torch.Tensor:
        """|learner − rollout| of each token's log-probability, flat."""
        return (behaviour_log_probs - batch.rollout_log_probs)[batch.mask].abs()

    def export(self, folder: Path | None) -> None:
        """Write a folder that transformers and vLLM load; an adapter is added to the weights, and lies alone in `lora`,
        for peft. A call of all ranks; those that give no folder take part in gathering only."""
        written = self.weights.write(folder, "model")
        if folder is None:
            return
        self.module.config.save_pretrained(folder)
        self.module.generation_config.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        surviving = None if written is None else written.surviving
        write_card(folder, actor_card("actor", self._base, self._dialogue, self._system_prompt, surviving))
        if written is not None:
            self.module.peft_config[ADAPTER].save_pretrained(folder / "lora")
            tensors = {f"{_PEFT}{name}": tensor for name, tensor in written.adapter.items()}
            AdapterFolder(written.spec, str(self._base), _TENSORS, _PEFT).write(folder / "lora")
            save_file(tensors, folder / "lora" / _TENSORS, metadata={"format": "pt"})

    def _checkpointed_layers(self) -> list[torch.nn.Module]:
        self.module.gradient_checkpointing_enable({"use_reentrant": False})
        layers = [layer for layer in self.module.modules() if isinstance(layer, GradientCheckpointingLayer)]
        if not layers:
            raise ValueError(
                f"learner.actor.gradient_checkpointing: True is refused: {type(self.module).__name__} has no such "
                "layers. Leave it out, and lower learner.actor.micro_batch"
            )
        return layers

    def _compiled(self, form: AnswerForm) -> AnswerGrammar:
        stops = self.module.generation_config.eos_token_id
        text = self.module.config.get_text_config()
        ends = stops if isinstance(stops, list) else [stops]
        return AnswerGrammar(form, self.processor.tokenizer, text.vocab_size, [end for end in ends if end is not None])

    def _collate(self, samples: Sequence[ActorSample]) -> AnswerBatch:
        firsts, rows = without_repeats([(sample.image.tobytes(), sample.prompt) for sample in samples])
        asked = [samples[first] for first in firsts]
        prompts = self.processor(
            text=[self._prompt_text(sample.prompt) for sample in asked],
            images=[[Image.fromarray(sample.image)] for sample in asked],
            add_special_tokens=False,  # the chat template has written them, as it does for the serving engine
            padding=True,
            return_tensors="pt",
        )
        prompt_mask = prompts.pop("attention_mask").bool()
        prompt_ids = [row[keep] for row, keep in zip(prompts.pop("input_ids"), prompt_mask, strict=True)]
        answers = [torch.tensor(self._trained_tokens(sample.token_ids)) for sample in samples]
        sequences = [torch.cat([prompt_ids[row], answer[:-1]]) for row, answer in zip(rows, answers, strict=True)]
        rollout = [
            torch.tensor(sample.log_probs[: len(answer)], dtype=torch.float32)
            for sample, answer in zip(samples, answers, strict=True)
        ]
        token_ids = _pad(answers, 0)
        mask = _pad([torch.ones_like(answer, dtype=torch.bool) for answer in answers], False)
        starts = torch.tensor([len(prompt_ids[row]) for row in rows])
        positions = starts.unsqueeze(1) - 1 + torch.arange(token_ids.shape[1])
        inputs = {
            "input_ids": _pad(sequences, self.processor.tokenizer.pad_token_id or 0),
            "attention_mask": _pad([torch.ones_like(row) for row in sequences], 0),
            **self._places(sequences, prompts, rows),
        }
        allowed = None
        if self._grammar is not None:
            masks = [self._grammar.allowed(answer.tolist()) for answer in answers]
            allowed = _pad(masks, -1)  # all tokens
        advantages = torch.tensor([sample.advantage for sample in samples], dtype=torch.float32)
        device = self.config.device
        return AnswerBatch(
            inputs={name: tensor.to(device) for name, tensor in inputs.items()},
            images={name: tensor.to(device) for name, tensor in prompts.items()},
            prompts=rows,
            image_tokens=[int((ids == self.module.config.image_token_id).sum()) for ids in prompt_ids],
            positions=torch.where(mask, positions, 0).to(device),
            token_ids=token_ids.to(device),
            mask=mask.to(device),
            rollout_log_probs=_pad(rollout, 0.0).to(device),
            advantages=advantages.to(device),
            allowed=None if allowed is None else allowed.to(device),
        )

    def _places(
        self, sequences: list[torch.Tensor], prompts: MutableMapping[str, torch.Tensor], rows: list[int]
    ) -> dict[str, torch.Tensor]:
        """What a model that numbers image tokens by row and column needs besides, taken out of `prompts` where it is
        not for the vision encoder."""
        if prompts.pop("mm_token_type_ids", None) is None:
            return {}
        image_token = self.module.config.image_token_id
        return {
            "mm_token_type_ids": _pad([(row == image_token).int() for row in sequences], 0),
            "image_grid_thw": prompts["image_grid_thw"][rows],
        }

    def _trained_tokens(self, token_ids: list[int]) -> list[int]:
        """The answer up to the first image token, if one was sampled: the model would expect an image at its place."""
        image_token = self.module.config.image_token_id
        return token_ids[: token_ids.index(image_token) + 1] if image_token in token_ids else token_ids

    def _prompt_text(self, prompt: str) -> str:
        said = messages(prompt, self._system_prompt)
        text: str = self.processor.apply_chat_template(said, add_generation_prompt=True)
        return text


def _pad(rows: list[torch.Tensor], value: float) -> torch.Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=value)


def _for_answers(
    features: torch.Tensor | Sequence[torch.Tensor], batch: AnswerBatch
) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """What the vision encoder made of each prompt's image, repeated for the answers that share the prompt: in one
    tensor, or a tensor for each, as it came."""
    in_one = isinstance(features, torch.Tensor)
    tokens = features.flatten(0, 1) if isinstance(features, torch.Tensor) else torch.cat(tuple(features))
    of_prompt = tokens.split(batch.image_tokens)
    of_answer = [of_prompt[prompt] for prompt in batch.prompts]
    return torch.cat(of_answer) if in_one else tuple(of_answer)
