"""The Inverse Diffuser as DiffusionNFT trains it: clean edits, noise of the learner's own, and no log-probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from actors.conditioning import Network, velocity
from learner.flow_policy import EditBatch, FlowPolicy
from learner.nft.loss import nft_loss
from learner.samples import EditorSample
from weights.lora import starting_model


@dataclass(frozen=True, kw_only=True)
class LevelBatch(EditBatch):
    """One noise level of B edits, by its place among those that each edit is trained at. `clean` and `noise` are
    (B, S, C)."""

    clean: torch.Tensor
    noise: torch.Tensor


@dataclass(frozen=True)
class LevelEvaluation:
    """The velocity (B, S, C) at the noised edits."""

    velocity: torch.Tensor


class NftPolicy(FlowPolicy):
    """An editing pipeline with the loss on the forward process; see `FlowPolicy` and `nft_loss`."""

    def batches(self, samples: Sequence[EditorSample]) -> list[LevelBatch]:  # type: ignore[override]
        """The noise levels of the samples in forward passes of at most `config.micro_batch` edits.

        Noise and levels follow from the learner's seed and from each sample's, whatever else is in the batch.

        Raises:
            ValueError: edits that were not sampled by the ODE, or of different latent shapes or numbers of steps.
        """
        if any(not sample.path.is_clean for sample in samples):
            raise ValueError("the batch has paths of the SDE; with algorithm nft, sample edits by the ODE (FlowOde)")
        kinds = {(sample.path.latents.shape, sample.path.sigmas.shape) for sample in samples}
        if len(kinds) > 1:
            raise ValueError(
                f"the batch mixes edits of (latents' shape, noise levels) {sorted(kinds)}; sample all edits of an "
                "update with the same settings"
            )
        size = self.config.micro_batch
        parts = [samples[start : start + size] for start in range(0, len(samples), size)]
        return [level for part in parts for level in self._levels(part)]

    def evaluate(self, network: Network, batch: LevelBatch) -> LevelEvaluation:  # type: ignore[override]
        """The velocity under `network` (this policy's module, or what wraps it)."""
        sigma = batch.sigma.reshape(-1, 1, 1)
        noised = (1 - sigma) * batch.clean + sigma * batch.noise
        return LevelEvaluation(velocity(network, noised, batch.conditioning, batch.sigma).float())

    def anchor(self, evaluation: LevelEvaluation) -> torch.Tensor:  # type: ignore[override]
        """The velocity of the weights before the first optimizer step."""
        return evaluation.velocity

    def loss(  # type: ignore[override]
        self, batch: LevelBatch, evaluation: LevelEvaluation, anchor: torch.Tensor, normaliser: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss of this part of a batch of `normaliser` pairs; see `nft_loss`."""
        reference = None
        if self.config.kl_coefficient > 0:
            with starting_model(self.module, self.reference) as network:
                reference = self.evaluate(network, batch).velocity
        return nft_loss(
            evaluation.velocity,
            anchor,
            batch.clean,
            batch.noise,
            batch.sigma,
            batch.advantages,
            beta=self.config.nft.beta,
            advantage_clip=self.config.nft.advantage_clip,
            kl_coefficient=self.config.kl_coefficient,
            reference_velocity=reference,
            normaliser=normaliser,
        )

    def mismatch(self, batch: LevelBatch, anchor: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """(B,) zeros: nothing is compared with the rollout, whose log-probabilities this loss does without."""
        return torch.zeros(batch.count)

    def _levels(self, samples: Sequence[EditorSample]) -> list[LevelBatch]:
        conditioning = self.model.conditioning(
            [sample.image for sample in samples], [sample.edit_prompt for sample in samples]
        )
        device = conditioning.image_latents.device
        clean = torch.stack([torch.tensor(sample.path.latents[0]) for sample in samples]).to(device)
        advantages = torch.tensor([sample.advantage for sample in samples], dtype=torch.float32, device=device)
        drawn = [self._drawn(sample) for sample in samples]
        return [
            LevelBatch(
                conditioning=conditioning,
                place=level,
                sigma=torch.stack([sigmas[level] for sigmas, _ in drawn]).to(device),
                advantages=advantages,
                clean=clean,
                noise=torch.stack([noise[level] for _, noise in drawn]).to(device),
            )
            for level in range(len(drawn[0][0]))
        ]

    def _drawn(self, sample: EditorSample) -> tuple[torch.Tensor, torch.Tensor]:
        """The noise levels (L,) at which a sample is trained, falling, and a noise (L, S, C) for each."""
        generator = torch.Generator().manual_seed(self.config.seed + sample.seed)
        sigmas = torch.tensor(sample.path.sigmas[:-1])
        count = min(self.config.nft.levels or len(sigmas), len(sigmas))
        chosen = torch.randperm(len(sigmas), generator=generator)[:count].sort().values
        return sigmas[chosen], torch.randn(count, *sample.path.latents.shape[1:], generator=generator)
