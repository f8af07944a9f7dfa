"""What an update did, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any


@dataclass
class RankStats:
    """Sums over the terms (tokens, or denoising steps) that one rank saw; see `LearnerStats` for the names.

    `mismatch_sums` and `mismatch_counts` have one entry for each position: |recomputed − rollout's| log-probability
    summed over the terms there, and their number.
    """

    sums: dict[str, float] = field(default_factory=dict)
    mismatch_sums: list[float] = field(default_factory=list)
    mismatch_counts: list[int] = field(default_factory=list)
    mismatch_max: float = 0.0
    gradient_norms: list[float] = field(default_factory=list)
    learning_rate: float = 0.0
    tensors: int = 0
    tensors_changed: int = 0
    digest: str = ""
    seconds: float = 0.0
    gpu_bytes: int = 0

    def add(self, sums: dict[str, float]) -> None:
        """Add the sums of one forward pass."""
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def add_mismatch(self, values: Sequence[float], positions: Sequence[int]) -> None:
        """Add |recomputed − rollout's| of some terms, each with its token position or denoising step.

        Raises:
            ValueError: not one position, of at least 0, for each value.
        """
        if len(values) != len(positions) or min(positions, default=0) < 0:
            raise ValueError(
                f"positions is {list(positions)} for {len(values)} values; give one position, from 0, for each value"
            )
        missing = max(positions, default=-1) + 1 - len(self.mismatch_counts)
        self.mismatch_sums += [0.0] * missing
        self.mismatch_counts += [0] * missing
        for value, position in zip(values, positions, strict=True):
            self.mismatch_sums[position] += value
            self.mismatch_counts[position] += 1
            self.mismatch_max = max(self.mismatch_max, value)


@dataclass(frozen=True)
class LearnerStats:
    """One update. Means are over tokens (Actor) or (edit, denoising step) pairs (editor), over all epochs.

    Attributes:
        policy, version: which policy was trained, and the version that it has now.
        digest: hash of its weights now, as `Manifest.digest`.
        samples: answers or edits in the batch.
        terms: tokens or pairs in the batch.
        optimizer_steps: steps of AdamW; learning_rate: their size.
        loss: mean loss; kl: mean divergence to the starting model, 0 where it is not used.
        ratio_mean: mean probability ratio to the weights before the update.
        clip_fraction: part of the terms whose gradient the clip stopped.
        importance_mean: mean truncated importance weight.
        drift: mean estimate of the KL divergence of the weights before the update to those during it; 0 with one
            optimizer step, None with the editor's algorithm nft.
        entropy: mean −log p of the sampled tokens, an estimate of the Actor's entropy; None for the editor, whose
            noise level says it.
        gradient_norm: largest L2 norm before clipping.
        logprob_mismatch_max, logprob_mismatch_mean: |recomputed − rollout's| log-probability of a term, recomputed
            before the first optimizer step. With the editor's algorithm nft, which knows no log-probabilities, they are
            0, and the ratio and the importance weight 1.
        logprob_mismatch_by_position: its mean at each token of the answers (Actor), or at each stochastic denoising
            step of the edits, counted from the first one of the window (editor).
        tensors_changed: parameters, of `tensors`, that the update changed.
        seconds: wall-clock time, as the caller sees it.
        compute_seconds: the part of it that the slowest rank worked.
        gpu_bytes: the most GPU memory that a rank held meanwhile; 0 on CPUs.
    """

    policy: str
    version: int
    digest: str
    samples: int
    terms: int
    optimizer_steps: int
    learning_rate: float
    loss: float
    kl: float
    ratio_mean: float
    clip_fraction: float
    importance_mean: float
    gradient_norm: float
    logprob_mismatch_max: float
    logprob_mismatch_mean: float
    logprob_mismatch_by_position: list[float]
    tensors_changed: int
    tensors: int
    seconds: float
    compute_seconds: float
    gpu_bytes: int = 0
    drift: float | None = None
    entropy: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a metrics line."""
        return asdict(self)


def merge(
    ranks: Sequence[RankStats], policy: str, version: int, samples: int, kl_coefficient: float, seconds: float
) -> LearnerStats:
    """The update's statistics from those of its ranks.

    Raises:
        RuntimeError: the ranks ended with different weights.
    """
    digests = [rank.digest for rank in ranks]
    if len(set(digests)) != 1:
        raise RuntimeError(f"policy {policy!r} version {version}: the ranks hold different weights: {digests}")
    total = {name: sum(rank.sums.get(name, 0.0) for rank in ranks) for name in ranks[0].sums}
    count = total["count"]
    mismatch_sums = [sum(values) for values in zip_longest(*(rank.mismatch_sums for rank in ranks), fillvalue=0.0)]
    mismatch_counts = [sum(values) for values in zip_longest(*(rank.mismatch_counts for rank in ranks), fillvalue=0)]
    terms = sum(mismatch_counts)
    more = {name: total[name] / count for name in ("drift", "entropy") if name in total}
    return LearnerStats(
        policy=policy,
        version=version,
        digest=digests[0],
        samples=samples,
        terms=terms,
        optimizer_steps=len(ranks[0].gradient_norms),
        learning_rate=ranks[0].learning_rate,
        loss=(kl_coefficient * total["kl"] - total["objective"]) / count,
        kl=total["kl"] / count,
        ratio_mean=total["ratio"] / count,
        clip_fraction=total["clipped"] / count,
        importance_mean=total["importance"] / count,
        gradient_norm=max(norm for rank in ranks for norm in rank.gradient_norms),
        logprob_mismatch_max=max(rank.mismatch_max for rank in ranks),
        logprob_mismatch_mean=sum(mismatch_sums) / terms,
        logprob_mismatch_by_position=[s / n for s, n in zip(mismatch_sums, mismatch_counts, strict=True)],
        tensors_changed=ranks[0].tensors_changed,
        tensors=ranks[0].tensors,
        seconds=seconds,
        compute_seconds=max(rank.seconds for rank in ranks),
        gpu_bytes=max(rank.gpu_bytes for rank in ranks),
        **more,
    )
