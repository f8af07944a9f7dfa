"""Settings of one learner, checked before anything starts. Imports neither torch nor Ray."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scenes.section import Section
from weights.lora_config import LoraConfig

NumberFormat = Literal["float32", "bfloat16"]


class LearnerConfig(Section):
    """How one policy is trained."""

    learning_rate: float = Field(1e-4, gt=0)
    """AdamW's step size, at first."""
    decay_updates: int | None = Field(None, ge=1)
    """Updates of the policy over which the step size falls in a straight line to `final_fraction` of it; null keeps it
    constant. A policy that trains with few, noisy groups wanders as far as its step size lets it once there is little
    left to gain."""
    final_fraction: float = Field(0.1, ge=0, le=1)
    """Part of the step size that is left after `decay_updates`."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decoupled weight decay."""
    betas: Annotated[tuple[float, float], Field(strict=False)] = (0.9, 0.999)
    """AdamW's decay rates of the two moments."""
    epsilon: float = Field(1e-8, gt=0)
    """What AdamW adds to the root of the second moment before it divides by it."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of an exponential moving average of what trains, taken after each update: held-out evaluation and the
    exported models have the average, rollouts the weights themselves. Flow-GRPO has 0.9; 0 keeps no average."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this global L2 norm."""

    clip_low: float = Field(0.2, gt=0, lt=1)
    """The probability ratio may not fall below 1 − clip_low (for an answer that was worse than its group)."""
    clip_high: float = Field(0.2, gt=0)
    """The probability ratio may not rise above 1 + clip_high (for an answer that was better than its group)."""
    dual_clip: float | None = Field(None, gt=1)
    """The objective of an answer that was worse than its group does not fall below so many times its advantage, however
    likely it has become; null: no such bound. It acts with several optimizer steps only."""
    kl_coefficient: float = Field(0.0, ge=0)
    """Weight of the KL divergence to the starting model; 0 keeps no copy of it, nor does LoRA."""
    kl_bound: float | None = Field(None, gt=0)
    """Greatest estimate of that divergence for a token of the Actor; null: none. The editor's is no estimate."""
    importance_cap: float | None = Field(2.0, ge=1)
    """Upper bound of the weight that corrects for the rollout engine's log-probabilities; null turns it off."""
    temperature: float = Field(1.0, gt=0)
    """Temperature at which the Actor's log-probabilities were taken; must be that of the sampler."""

    lora: LoraConfig | None = None
    """Train adapters, and send only these to the replicas; null trains all weights."""

    epochs: int = Field(1, ge=1)
    """Passes over the batch of one update."""
    minibatches: int = Field(1, ge=1)
    """Parts of the batch, each followed by an optimizer step."""
    micro_batch: int = Field(16, ge=1)
    """Samples in one forward and backward pass of a rank."""
    seed: int = 0
    """Order of the samples where there is more than one optimizer step."""

    ranks: int = Field(1, ge=1)
    """Processes that share the batch."""
    zero_stage: int = Field(0, ge=0, le=3)
    """What DeepSpeed splits over the ranks: 0 nothing, 1 optimizer state, 2 gradients too, 3 the weights as well. With
    3, a rank has the whole model only while it reads it at the start."""
    threads: int = Field(1, ge=1)
    """Threads of each rank. More than one collapses where other processes use the same cores."""
    cpus_per_rank: float = Field(1.0, ge=0)
    """Logical CPUs that Ray sets aside for each rank."""
    gpus_per_rank: float = Field(0.0, ge=0, le=1)
    """The part of a GPU that Ray sets aside for each rank, never of the same one twice; 0 trains on the CPU."""
    offload: Literal["none", "cpu"] = "none"
    """Where a rank's model and optimizer are while rollouts are sampled: on its GPU, or in CPU memory (`cpu`), so that
    roles on the same GPU fit there by turns. Not with ZeRO 3."""
    dtype: NumberFormat = "float32"
    """Number format in which the model computes. With bfloat16, which needs ZeRO 2 or 3, the optimizer keeps what
    trains in float32 besides, and gradients add up in float32."""
    gradient_checkpointing: bool = False
    """Compute layers again in the backward pass instead of keeping what they computed: less memory, a third more
    work."""

    start_deadline_s: float = Field(300.0, gt=0)
    """Seconds that all ranks may take to load the model and to build the engine."""
    deadline_s: float = Field(600.0, gt=0)
    """Seconds that an update, a save, a load or an export may take."""

    @property
    def device(self) -> str:
        """torch device of each rank, which sees only the GPU that Ray sets aside for it."""
        return "cuda" if self.gpus_per_rank else "cpu"

    @property
    def environment(self) -> dict[str, str]:
        """What the process of a rank must find in its environment when it starts."""
        return {"DS_ACCELERATOR": self.device, "OMP_NUM_THREADS": str(self.threads)}

    def learning_rate_at(self, version: int) -> float:
        """The step size of the update that makes version `version` + 1."""
        if self.decay_updates is None:
            return self.learning_rate
        done = min(1.0, version / self.decay_updates)
        return self.learning_rate * (1 - done * (1 - self.final_fraction))

    @model_validator(mode="after")
    def _check(self) -> LearnerConfig:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {self.betas}; both must lie in [0, 1)")
        if self.zero_stage > 0 and self.ranks == 1 and self.dtype == "float32":
            raise ValueError(
                f"zero_stage is {self.zero_stage} with ranks 1; there is nothing to split: set zero_stage 0, ranks 2, "
                "or dtype bfloat16, for which ZeRO keeps float32 besides"
            )
        if self.dtype == "bfloat16" and self.zero_stage < 2:
            raise ValueError(
                f"dtype is bfloat16 with zero_stage {self.zero_stage}; steps of small size would be rounded away: set "
                "zero_stage 2 or 3, which keep float32 besides, or dtype float32"
            )
        if self.offload == "cpu" and self.zero_stage == 3:
            raise ValueError(
                "offload is 'cpu' with zero_stage 3, whose optimizer DeepSpeed cannot move: set zero_stage 2, or "
                "offload none"
            )
        return self


class NftConfig(Section):
    """DiffusionNFT (arXiv 2509.16117), with `algorithm: nft`."""

    beta: float = Field(1.0, gt=0)
    """How far the implicit positive and negative velocities lie on both sides of the one before the update: it acts
    where there is more than one optimizer step."""
    advantage_clip: float = Field(5.0, gt=0)
    """Advantage at which an edit counts as wholly good (or, below 0, as wholly bad)."""
    levels: int | None = Field(None, ge=1)
    """Noise levels at which an update trains each edit, drawn from those that its denoising went through; null: all."""


class EditorLearnerConfig(LearnerConfig):
    """How the editor is trained."""

    algorithm: Literal["flow_grpo", "nft"] = "flow_grpo"
    """What an update learns from: the log-probabilities of the SDE's steps (Flow-GRPO), or clean edits of the ODE, to
    which the learner adds noise (DiffusionNFT, see `nft`). The latter has no probability ratio: clip range and
    importance weights do nothing."""
    guard: bool = False
    """Normalise the probability ratios of denoising steps and weigh these by one over their length, as GRPO-Guard does
    (arXiv 2510.22319), so that all of them pull alike; with `algorithm: flow_grpo`. The clip range is then one of other
    ratios: flow_grpo's code takes 2e-6 to 1e-4."""
    nft: NftConfig = NftConfig()
    """Training on the forward process, with `algorithm: nft`."""

    @classmethod
    def of(cls, config: LearnerConfig) -> EditorLearnerConfig:
        """The same settings, with the defaults of what they do not say."""
        return config if isinstance(config, cls) else cls(**dict(config))
