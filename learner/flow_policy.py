"""The Inverse Diffuser as the learner sees it: a flow model that gives each denoising step its log-probability."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE

from actors.conditioning import Conditioning, Network, velocity
from actors.flow_path import Sampler
from actors.flow_sde import gaussian_log_prob, sde_log_prob, sde_mean_std
from actors.image_model import ImageModel
from actors.model_families import load_editor
from actors.pipelines.text_encoders import move
from learner.config import EditorLearnerConfig, LearnerConfig
from learner.flow_loss import Guard, flow_loss, gaussian_divergence
from learner.samples import EditorSample
from learner.saving.model_card import editor_card, write_card
from learner.trained_weights import TrainedWeights
from weights.adapter_folder import AdapterFolder
from weights.lora import ADAPTER, starting_model


@dataclass(frozen=True, kw_only=True)
class EditBatch:
    """One forward pass over B edits, at the same place of each; `sigma` and `advantages` are (B,)."""

    conditioning: Conditioning
    place: int
    sigma: torch.Tensor
    advantages: torch.Tensor

    @property
    def count(self) -> int:
        """(edit, place) pairs that the loss is a mean over."""
        return len(self.advantages)

    @property
    def term_positions(self) -> list[int]:
        """The place of each of these pairs, in the order of `FlowPolicy.mismatch`."""
        return [self.place] * self.count


@dataclass(frozen=True, kw_only=True)
class StepBatch(EditBatch):
    """One denoising step of B edits, by its place in the paths (0: their first stochastic step).

    `latents` and `next_latents` are (B, S, C), all others but `eta` (B,).
    """

    latents: torch.Tensor
    next_latents: torch.Tensor
    next_sigma: torch.Tensor
    eta: float
    rollout_log_probs: torch.Tensor


@dataclass(frozen=True)
class StepEvaluation:
    """Log-probability (B,) of the step that was taken, and mean (B, S, C) and std of the Gaussian it came from."""

    log_probs: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor


class FlowPolicy:
    """An editing pipeline, of which the transformer is trained, and the editor's loss.

    Args:
        model_path: folder or hub id.
        config: settings of the loss and of the adapter. A KL coefficient above 0 keeps a frozen copy of the transformer
            as it is on disk; with an adapter, the transformer without it is that.
        sampler: of the rollout, see `actors.flow_sde`.
        model: the pipeline, where somebody has loaded it and goes on using it; None loads it.
        settings: what ImageModel takes besides (`image_size`, `max_sequence_length`, …); must be those of the rollout.

    Attributes:
        model: the pipeline, which samples as the rollout does.
        module: its transformer.
        weights: what of it trains.
        reference: the frozen copy, or None.

    Raises:
        ModelLoadError, ValueError: see `load_editor`; or the adapter does not fit.
    """

    def __init__(
        self,
        model_path: str | Path,
        config: LearnerConfig,
        sampler: Sampler = "sde",
        model: ImageModel | None = None,
        **settings: Any,
    ) -> None:
        self.config, self._base, self._sampler = EditorLearnerConfig.of(config), model_path, sampler
        self.model = model or load_editor(model_path, device=config.device, dtype=config.dtype, **settings)
        for part in self.model.pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval()
        self.module = self.model.transformer
        if config.gradient_checkpointing:
            self.module.enable_gradient_checkpointing()
        copied = config.kl_coefficient > 0 and config.lora is None
        self.reference = copy.deepcopy(self.module) if copied else None
        self.weights = TrainedWeights(self.module, config.lora, config.seed)

    def to(self, device: str) -> None:
        """Move all that it holds, the frozen parts of the pipeline included."""
        move(self.model.pipe, device)
        if self.reference is not None:
            self.reference.to(device)

    def batches(self, samples: Sequence[EditorSample]) -> list[StepBatch]:
        """Each step of the samples' paths in forward passes of at most `config.micro_batch` edits.

        Raises:
            ValueError: paths of different lengths, latent shapes or noise levels η, or without stochastic steps.
        """
        if any(len(sample.path) == 0 for sample in samples):
            raise ValueError("a path has no stochastic step; sample the edit with the SDE to train on it")
        kinds = {(sample.path.latents.shape, sample.path.eta) for sample in samples}
        if len(kinds) > 1:
            raise ValueError(
                f"the batch mixes paths of (latents' shape, eta) {sorted(kinds)}; sample all edits of an update with "
                "the same settings"
            )
        size = self.config.micro_batch
        return [step for start in range(0, len(samples), size) for step in self._steps(samples[start : start + size])]

    def evaluate(self, network: Network, batch: StepBatch) -> StepEvaluation:
        """Log-probability under `network` (this policy's module, or what wraps it)."""
        step = (velocity(network, batch.latents, batch.conditioning, batch.sigma), batch.sigma, batch.next_sigma)
        log_probs = sde_log_prob(batch.latents, *step, batch.eta, batch.next_latents, self._sampler)
        return StepEvaluation(log_probs, *sde_mean_std(batch.latents, *step, batch.eta, self._sampler))

    def anchor(self, evaluation: StepEvaluation) -> torch.Tensor:
        """What the loss compares with, when the evaluation is by the weights before the first optimizer step: (B,)
        log-probabilities, or with `guard` the means (B, S, C) that they follow from."""
        return evaluation.mean if self.config.guard else evaluation.log_probs

    def loss(
        self, batch: StepBatch, evaluation: StepEvaluation, anchor: torch.Tensor, normaliser: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """The editor's loss for this part of a batch of `normaliser` pairs; see `flow_loss`."""
        divergence = None
        if self.config.kl_coefficient > 0:
            with starting_model(self.module, self.reference) as network:
                reference = self.evaluate(network, batch)
            divergence = gaussian_divergence(evaluation.mean, reference.mean, evaluation.std)
        guard = None
        if self.config.guard:
            moved = gaussian_divergence(evaluation.mean, anchor, evaluation.std)
            guard = Guard(moved, evaluation.std.flatten(), batch.sigma - batch.next_sigma)
        return flow_loss(
            evaluation.log_probs,
            self._behaviour_log_probs(batch, anchor),
            batch.rollout_log_probs,
            batch.advantages,
            clip_low=self.config.clip_low,
            clip_high=self.config.clip_high,
            importance_cap=self.config.importance_cap,
            kl_coefficient=self.config.kl_coefficient,
            divergence=divergence,
            normaliser=normaliser,
            dual_clip=self.config.dual_clip,
            guard=guard,
        )

    def mismatch(self, batch: StepBatch, anchor: torch.Tensor) -> torch.Tensor:
        """|learner − rollout| of each step's log-probability, (B,)."""
        return (self._behaviour_log_probs(batch, anchor) - batch.rollout_log_probs).abs()

    def _behaviour_log_probs(self, batch: StepBatch, anchor: torch.Tensor) -> torch.Tensor:
        if not self.config.guard:
            return anchor
        step = (torch.zeros_like(batch.latents), batch.sigma, batch.next_sigma, batch.eta, self._sampler)
        return gaussian_log_prob(batch.next_latents, anchor, sde_mean_std(batch.latents, *step)[1])

    def export(self, folder: Path | None) -> None:
        """Write a pipeline folder that diffusers loads, with a model card that says how it is called. An adapter is
        added to the weights, and lies alone in `lora`, for `load_lora_weights`. A call of all ranks; those that give
        no folder take part in gathering only."""
        written = self.weights.write(folder and folder / "transformer", "diffusion_pytorch_model")
        if folder is None:
            return
        pipe = self.model.pipe
        self.module.save_config(folder / "transformer")
        for name, part in pipe.components.items():
            if part is not None and part is not self.module:
                part.save_pretrained(folder / name)
        pipe.save_config(folder)
        surviving = None if written is None else written.surviving
        write_card(folder, editor_card(self.model, "editor", self._base, surviving))
        if written is not None:
            pipe.save_lora_weights(
                folder / "lora",
                transformer_lora_layers=written.adapter,
                transformer_lora_adapter_metadata=self.module.peft_config[ADAPTER].to_dict(),
            )
            AdapterFolder(written.spec, str(self._base), LORA_WEIGHT_NAME_SAFE, "transformer.").write(folder / "lora")

    def _steps(self, samples: Sequence[EditorSample]) -> list[StepBatch]:
        conditioning = self.model.conditioning(
            [sample.image for sample in samples], [sample.edit_prompt for sample in samples]
        )
        device = conditioning.image_latents.device
        latents, sigmas, log_probs = (
            torch.stack([torch.tensor(getattr(sample.path, name)) for sample in samples], dim=1).to(device)
            for name in ("latents", "sigmas", "log_probs")
        )
        advantages = torch.tensor([sample.advantage for sample in samples], dtype=torch.float32, device=device)
        return [
            StepBatch(
                conditioning=conditioning,
                place=step,
                sigma=sigmas[step],
                advantages=advantages,
                latents=latents[step],
                next_latents=latents[step + 1],
                next_sigma=sigmas[step + 1],
                eta=samples[0].path.eta,
                rollout_log_probs=log_probs[step],
            )
            for step in range(len(log_probs))
        ]
