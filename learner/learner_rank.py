"""One process of a learner: a policy, its DeepSpeed engine, and this rank's part of every batch."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from learner.checkpoint import atomic_directory
from learner.deepspeed_engine import join, listen, new_engine, step
from learner.learner_config import LearnerConfig
from learner.learner_stats import RankStats
from learner.samples import ActorSample, EditorSample
from learner.weights import WeightUpdate, checksums_digest, distinct, pack, publish, tensor_checksum

_TAG = "engine"
_STATE = "state.json"


class LearnerRank:
    """Rank `rank` of a learner; `deepspeed_learner.Learner` makes Ray actors of it and calls all ranks together."""

    def __init__(
        self, policy: str, model_path: str, config: LearnerConfig, settings: dict[str, Any], rank: int
    ) -> None:
        torch.set_num_threads(config.threads)
        self._policy_name, self._model_path, self._settings = policy, model_path, settings
        self._config, self._rank = config, rank
        self._store: torch.distributed.TCPStore | None = None
        self._version = 0
        self._held: dict[str, str] | None = None  # checksums of the weights, where they are known

    def listen(self, host: str) -> int:
        """Open the meeting point of the ranks (rank 0 only) and return its port."""
        self._store = listen(host, self._config.ranks, self._config.start_deadline_s)
        return self._store.port

    def start(self, host: str, port: int) -> int:
        """Load the policy, meet the other ranks, build the engine. Returns the number of trained parameters."""
        self._policy = new_policy(self._policy_name, self._model_path, self._config, self._settings)
        deadline_s = max(self._config.start_deadline_s, self._config.deadline_s)
        join(self._store, host, port, self._rank, self._config.ranks, deadline_s)
        self._engine = new_engine(self._policy.module, self._config)
        return sum(p.numel() for p in self._policy.module.parameters() if p.requires_grad)

    def update(self, samples: Sequence[ActorSample | EditorSample]) -> RankStats:
        """Train on this rank's part of the batch.

        Raises:
            ValueError: more minibatches than forward passes.
            FloatingPointError: a loss or a gradient that is not finite.
            RuntimeError: no parameter changed.
        """
        stats = RankStats()
        began = time.monotonic()
        before, self._held = self._held or self._checksums(), None
        try:
            self._train(samples, stats)
        except BaseException:
            self._engine.zero_grad()  # what was accumulated must not leak into the next update
            raise
        after = self._checksums()
        stats.digest, stats.tensors = checksums_digest(after), len(after)
        stats.tensors_changed = sum(after[name] != before[name] for name in after)
        if stats.tensors_changed == 0:
            raise RuntimeError(
                f"policy {self._policy_name!r}: the update changed none of {len(after)} tensors; advantages are "
                f"{sorted({sample.advantage for sample in samples})[:4]}, gradient norm {stats.gradient_norms}"
            )
        self._version, self._held = self._version + 1, after
        stats.seconds = time.monotonic() - began
        return stats

    def weights(self, version: int | None) -> WeightUpdate:
        """The weights in the object store, as version `version` (default: updates applied)."""
        if version is not None and version != self._version:
            raise ValueError(
                f"policy {self._policy_name!r}: version {version} is asked for, but the learner holds {self._version}"
            )
        return publish(pack(self._policy_name, self._version, self._policy.module.state_dict()))

    def save(self, folder: str) -> None:
        """Write this rank's part of the resumable state: weights, optimizer, version."""
        self._engine.save_checkpoint(folder, tag=_TAG)
        if self._rank == 0:
            state = {
                "policy": self._policy_name,
                "version": self._version,
                "digest": checksums_digest(self._checksums()),
                "ranks": self._config.ranks,
                "zero_stage": self._config.zero_stage,
            }
            (Path(folder) / _STATE).write_text(json.dumps(state, indent=2))

    def load(self, folder: str) -> int:
        """Read what `save` wrote, and return the version.

        Raises:
            FileNotFoundError: there is no saved state in `folder`.
            ValueError: it is of another policy or another number of ranks, or its weights are damaged.
        """
        path = Path(folder) / _STATE
        if not path.is_file():
            raise FileNotFoundError(f"{folder}: there is no {_STATE}; give a folder that Learner.save wrote")
        state = json.loads(path.read_text())
        mine = {"policy": self._policy_name, "ranks": self._config.ranks, "zero_stage": self._config.zero_stage}
        for field, value in mine.items():
            if state[field] != value:
                raise ValueError(f"{folder}: it was saved with {field} {state[field]!r}, this learner has {value!r}")
        self._engine.load_checkpoint(folder, tag=_TAG)
        self._held = self._checksums()
        if checksums_digest(self._held) != state["digest"]:
            raise ValueError(f"{folder}: its weights are not those that were saved; the checkpoint is damaged")
        self._version = state["version"]
        return self._version

    def export(self, folder: str) -> None:
        """Write the policy in its ecosystem's format, in one piece."""
        size = sum(p.numel() * p.element_size() for p in self._policy.module.parameters())
        with atomic_directory(Path(folder), needed_bytes=size) as staging:
            self._policy.export(staging)

    def stop(self) -> None:
        """Leave the process group."""
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def _train(self, samples: Sequence[ActorSample | EditorSample], stats: RankStats) -> None:
        config = self._config
        steps = config.epochs * config.minibatches
        order = list(samples)
        shuffle = random.Random(f"{config.seed}-{self._version}")
        if steps > 1:
            shuffle.shuffle(order)
        mine = order[self._rank :: config.ranks]
        batches = self._policy.batches(mine or order[:1])
        # The engines meet in every pass, so a rank with a smaller part repeats one that weighs nothing.
        passes = self._over_ranks(len(batches), torch.distributed.ReduceOp.MAX)
        weights = [float(bool(mine))] * len(batches) + [0.0] * (passes - len(batches))
        batches += [batches[0]] * (passes - len(batches))
        if passes < config.minibatches:
            raise ValueError(
                f"minibatches is {config.minibatches}, but {len(order)} samples make {passes} forward passes; "
                "use fewer minibatches or a smaller micro_batch"
            )
        behaviour: list[torch.Tensor | None] = [None] * passes
        if steps > 1:
            behaviour = [self._behaviour(batch) for batch in batches]
        for _ in range(config.epochs):
            indices = list(range(passes))
            if steps > 1:
                shuffle.shuffle(indices)
            for part in range(config.minibatches):
                chosen = indices[part :: config.minibatches]
                self._step([(batches[i], weights[i], behaviour[i]) for i in chosen], stats)
        if steps > 1:
            for batch, weight, log_probs in zip(batches, weights, behaviour, strict=True):
                self._add_mismatch(stats, batch, weight, log_probs)

    def _step(self, parts: list[tuple[Any, float, torch.Tensor | None]], stats: RankStats) -> None:
        count = sum(batch.count for batch, weight, _ in parts if weight)
        normaliser = self._over_ranks(count, torch.distributed.ReduceOp.SUM)
        for index, (batch, weight, behaviour) in enumerate(parts):
            self._engine.set_gradient_accumulation_boundary(index == len(parts) - 1)
            evaluation = self._policy.evaluate(self._engine, batch)
            if behaviour is None:  # the only optimizer step: the weights are still those before the update
                behaviour = evaluation.log_probs.detach()
                self._add_mismatch(stats, batch, weight, behaviour)
            loss, sums = self._policy.loss(batch, evaluation, behaviour, normaliser)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"policy {self._policy_name!r}: the loss is {loss.item()}; lower learning_rate or check the samples"
                )
            if weight:
                stats.add(sums)
            # DeepSpeed takes the mean of the ranks' gradients; the loss is a sum over them.
            self._engine.backward(loss * weight * self._config.ranks)
        stats.gradient_norms.append(step(self._engine))

    @torch.no_grad()
    def _behaviour(self, batch: Any) -> torch.Tensor:
        return self._policy.evaluate(self._engine, batch).log_probs

    def _add_mismatch(self, stats: RankStats, batch: Any, weight: float, log_probs: torch.Tensor) -> None:
        if weight:
            mismatch = self._policy.mismatch(batch, log_probs)
            stats.add_mismatch(mismatch.tolist(), batch.term_positions)

    def _over_ranks(self, value: int, operation: torch.distributed.ReduceOp) -> int:
        combined = torch.tensor([value])
        torch.distributed.all_reduce(combined, operation)
        return int(combined)

    def _checksums(self) -> dict[str, str]:
        kept, _ = distinct(self._policy.module.state_dict())
        return {name: tensor_checksum(tensor) for name, tensor in kept.items()}


def new_policy(name: str, model_path: str, config: LearnerConfig, settings: dict[str, Any]) -> Any:
    """The policy `actor` or `editor`; each loads only the libraries that it needs."""
    if name == "actor":
        from learner.vlm_policy import VlmPolicy

        return VlmPolicy(model_path, config, **settings)
    from learner.flow_policy import FlowPolicy

    return FlowPolicy(model_path, config, **settings)
