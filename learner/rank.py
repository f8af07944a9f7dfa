"""One process of a learner: a policy, its DeepSpeed engine, and this rank's part of every batch."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from actors.gpu import gpu_uuid, peak_gpu_bytes
from learner.average import PolicyAverage
from learner.config import LearnerConfig
from learner.engine import dissolve, frozen_engine, join, listen, new_engine, step
from learner.offload import come_back, leave
from learner.policy import new_policy
from learner.samples import ActorSample, EditorSample
from learner.saving.atomic_directory import atomic_directory
from learner.saving.identity import identity, refuse_other
from learner.saving.shards import write_shards
from learner.stats import RankStats
from weights.checksums import checksums_digest, tensor_checksums
from weights.manifest import WeightUpdate, publish_tensors
from weights.parts import distinct, parts, whole_nbytes, whole_numel

_TAG = "engine"
_STATE = "state.json"
_SENT = "sent"  # the weights as they are sent, where the engine's own files hold a part for each rank


class LearnerRank:
    """Rank `rank` of a learner; `learner.ranks.Learner` makes Ray actors of it and calls all ranks together."""

    def __init__(
        self, policy: str, model_path: str, config: LearnerConfig, settings: dict[str, Any], rank: int
    ) -> None:
        torch.set_num_threads(config.threads)
        self._policy_name, self._model_path, self._settings = policy, model_path, settings
        self._config, self._rank = config, rank
        self._store: torch.distributed.TCPStore | None = None
        self._version = 0
        self._held: dict[str, str] | None = None  # checksums of the weights, where they are known
        self._error: Exception | None = None  # of `add`
        self._forget_batch()

    def listen(self, host: str) -> int:
        """Open the meeting point of the ranks (rank 0 only) and return its port."""
        self._store = listen(host, self._config.ranks, self._config.start_deadline_s)
        return self._store.port

    def start(self, host: str, port: int) -> int:
        """Load the policy, meet the other ranks, build the engine. Returns the number of trained parameters."""
        self._policy = new_policy(self._policy_name, self._model_path, self._config, self._settings)
        deadline_s = max(self._config.start_deadline_s, self._config.deadline_s)
        join(self._store, host, port, self._rank, self._config.ranks, deadline_s, self._config.device)
        self._engine = new_engine(self._policy.module, self._config)
        if self._policy.reference is not None and self._config.zero_stage == 3:
            self._policy.reference = frozen_engine(self._policy.reference, self._config)
        self._average = PolicyAverage(self._engine, self._policy.weights, self._config.ema, self._rank)
        return sum(whole_numel(p) for p in self._policy.module.parameters() if p.requires_grad)

    def add(self, samples: Sequence[ActorSample | EditorSample]) -> None:
        """Take in a part of the next update's batch; all ranks get the same part and share it.

        An update of one optimizer step computes the gradients of a part at once, so that the learner works while other
        groups are still sampled. With more steps than one, minibatches are drawn from the whole batch, which `update`
        then begins with. What goes wrong is raised by `update`.
        """
        began = time.monotonic()
        try:
            if self._one_step and self._error is None:
                self._accumulate(samples, last=False)
            else:
                self._samples += samples
        except Exception as error:
            self._error = error
        self._stats.seconds += time.monotonic() - began

    def update(self, samples: Sequence[ActorSample | EditorSample]) -> RankStats:
        """Train on these samples and on what was added since the last update.

        Raises:
            ValueError: more minibatches than forward passes.
            FloatingPointError: a loss or a gradient that is not finite.
            RuntimeError: no parameter changed.
        """
        began = time.monotonic()
        before, self._held = self._held or self._checksums(), None
        try:
            self._train(samples)
        except BaseException:
            self._engine.zero_grad()  # what was accumulated must not leak into the next update
            self._forget_batch()
            raise
        advantages, stats = self._advantages, self._stats
        self._forget_batch()
        after = self._checksums()
        stats.digest, stats.tensors = checksums_digest(after), len(after)
        stats.tensors_changed = sum(after[name] != before[name] for name in after)
        if stats.tensors_changed == 0:
            raise RuntimeError(
                f"policy {self._policy_name!r}: the update changed none of {len(after)} tensors; advantages are "
                f"{sorted(advantages)[:4]}, gradient norm {stats.gradient_norms}"
            )
        self._version, self._held = self._version + 1, after
        self._average.add()
        stats.seconds += time.monotonic() - began
        stats.gpu_bytes = peak_gpu_bytes()
        return stats

    def weights(self, version: int | None) -> WeightUpdate | None:
        """The weights in the object store, as version `version` (default: updates applied); None but from rank 0."""
        if version is not None and version != self._version:
            raise ValueError(
                f"policy {self._policy_name!r}: version {version} is asked for, but the learner holds {self._version}"
            )
        spec, tensors = self._policy.weights.spec(), self._policy.weights.tensors()
        if self._rank == 0:
            return publish_tensors(self._policy_name, self._version, tensors, adapter=spec)
        for _ in parts(distinct(tensors)[0]):
            pass
        return None

    def averaged_weights(self, version: int | None) -> WeightUpdate | None:
        """As `weights`, their average where there is one."""
        with self._average.in_place():
            return self.weights(version)

    def save(self, folder: str) -> None:
        """Write this rank's part of the resumable state: trained weights, optimizer, version."""
        self._engine.save_checkpoint(folder, tag=_TAG, exclude_frozen_parameters=True)
        if self._config.zero_stage == 3:
            sent = parts(distinct(self._policy.weights.tensors())[0])
            write_shards(Path(folder) / _SENT if self._rank == 0 else None, "weights", sent)
        state = {**self._identity(), "version": self._version, "digest": checksums_digest(self._checksums())}
        if self._rank == 0:
            state |= self._average.save(Path(folder))
            (Path(folder) / _STATE).write_text(json.dumps(state, indent=2))

    def load(self, folder: str) -> int:
        """Read what `save` wrote, and return the version.

        Raises:
            FileNotFoundError: there is no saved state in `folder`.
            ValueError: it is of another policy, number of ranks, ZeRO stage or adapter, or its weights are damaged.
        """
        path = Path(folder) / _STATE
        if not path.is_file():
            raise FileNotFoundError(f"{folder}: there is no {_STATE}; give a folder that Learner.save wrote")
        state = json.loads(path.read_text())
        refuse_other(folder, state, self._identity())
        self._engine.zero_grad()
        self._forget_batch()
        # What an adapter leaves as it is was not saved; the digest tells whether all that trains was loaded.
        self._engine.load_checkpoint(folder, tag=_TAG, load_module_strict=self._config.lora is None)
        self._held = self._checksums()
        if checksums_digest(self._held) != state["digest"]:
            raise ValueError(f"{folder}: its weights are not those that were saved; the checkpoint is damaged")
        self._version = state["version"]
        self._average.load(Path(folder), state)
        return self._version

    def export(self, folder: str) -> None:
        """Write the policy, averaged where it is, in its ecosystem's format, in one piece; rank 0 writes."""
        with self._average.in_place():
            if self._rank:
                self._policy.export(None)
                return
            size = sum(whole_nbytes(parameter) for parameter in self._policy.module.parameters())
            with atomic_directory(Path(folder), needed_bytes=size) as staging:
                self._policy.export(staging)

    def sleep(self) -> None:
        """Leave the GPU, for others that work there: model and optimizer wait in CPU memory."""
        leave(self._engine, self._policy)

    def wake(self) -> None:
        """Be back on the GPU. Without `sleep` before, nothing happens."""
        come_back(self._engine, self._policy, self._config.device)

    def gpu_uuid(self) -> str | None:
        """See `actors.gpu`."""
        return gpu_uuid()

    def stop(self) -> None:
        """Leave the process group, and let go of what only training needs."""
        dissolve(getattr(self, "_engine", None))

    def _identity(self) -> dict[str, Any]:
        return identity(self._policy_name, self._config, self._policy.weights.spec())

    @property
    def _one_step(self) -> bool:
        return self._config.epochs * self._config.minibatches == 1

    def _forget_batch(self) -> None:
        self._stats = RankStats()
        self._samples: list[ActorSample | EditorSample] = []
        self._last_pass: list[tuple[Any, float]] = []
        self._advantages: set[float] = set()
        self._error = None

    def _passes(self, samples: Sequence[ActorSample | EditorSample]) -> list[tuple[Any, float]]:
        """This rank's forward passes over its share, each with its weight. The engines meet in every pass, so that a
        rank with a smaller share repeats a pass that weighs nothing."""
        if not samples:
            return []
        self._advantages |= {sample.advantage for sample in samples}
        mine = list(samples[self._rank :: self._config.ranks])
        batches = self._policy.batches(mine or samples[:1])
        passes = [(batch, float(bool(mine))) for batch in batches]
        missing = self._over_ranks(len(passes), torch.distributed.ReduceOp.MAX) - len(passes)
        return passes + [(batches[0], 0.0)] * missing

    def _accumulate(self, samples: Sequence[ActorSample | EditorSample], *, last: bool) -> None:
        """Add up the gradients of these samples. The engine must be told the last pass before it is made, so one pass
        always waits for what follows."""
        passes = self._last_pass + self._passes(samples)
        self._last_pass = [] if last else passes[-1:]
        for index, (batch, weight) in enumerate(passes if last else passes[:-1]):
            self._backward(batch, weight, None, last=last and index == len(passes) - 1)

    def _train(self, samples: Sequence[ActorSample | EditorSample]) -> None:
        if self._error is not None:
            raise self._error
        if self._one_step:
            self._accumulate(samples, last=True)
            self._step(self._stats.sums.get("count", 0))
        else:
            self._train_in_minibatches([*self._samples, *samples])

    def _train_in_minibatches(self, order: list[ActorSample | EditorSample]) -> None:
        config = self._config
        shuffle = random.Random(f"{config.seed}-{self._version}")
        shuffle.shuffle(order)
        passes = self._passes(order)
        if len(passes) < config.minibatches:
            raise ValueError(
                f"minibatches is {config.minibatches}, but {len(order)} samples make {len(passes)} forward passes; "
                "use fewer minibatches or a smaller micro_batch"
            )
        behaviour = [self._behaviour(batch) for batch, _ in passes]
        for _ in range(config.epochs):
            indices = list(range(len(passes)))
            shuffle.shuffle(indices)
            for part in range(config.minibatches):
                chosen = indices[part :: config.minibatches]
                for index in chosen:
                    self._backward(*passes[index], behaviour[index], last=index == chosen[-1])
                self._step(sum(passes[index][0].count for index in chosen if passes[index][1]))
        for (batch, weight), log_probs in zip(passes, behaviour, strict=True):
            self._add_mismatch(batch, weight, log_probs)

    def _backward(self, batch: Any, weight: float, behaviour: torch.Tensor | None, *, last: bool) -> None:
        """Add up the gradients of one pass; `behaviour` is None where the weights are still those before the update."""
        self._engine.set_gradient_accumulation_boundary(last)
        evaluation = self._policy.evaluate(self._engine, batch)
        if behaviour is None:
            behaviour = self._policy.anchor(evaluation).detach()
            self._add_mismatch(batch, weight, behaviour)
        # How many terms the batch has is known at its end: `_step` divides by it.
        loss, sums = self._policy.loss(batch, evaluation, behaviour, 1.0)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"policy {self._policy_name!r}: the loss is {loss.item()}; lower learning_rate or check the samples"
            )
        if weight:
            self._stats.add(sums)
        # DeepSpeed takes the mean of the ranks' gradients; the loss is a sum over them.
        self._engine.backward(loss * weight * self._config.ranks)

    def _step(self, count: float) -> None:
        """An optimizer step, with the mean over all ranks' terms, of which `count` are this rank's."""
        terms = self._over_ranks(int(count), torch.distributed.ReduceOp.SUM)
        self._stats.learning_rate = self._config.learning_rate_at(self._version)
        self._stats.gradient_norms.append(step(self._engine, terms, self._stats.learning_rate))

    @torch.no_grad()
    def _behaviour(self, batch: Any) -> torch.Tensor:
        anchor: torch.Tensor = self._policy.anchor(self._policy.evaluate(self._engine, batch))
        return anchor

    def _add_mismatch(self, batch: Any, weight: float, log_probs: torch.Tensor) -> None:
        if weight:
            mismatch = self._policy.mismatch(batch, log_probs)
            self._stats.add_mismatch(mismatch.tolist(), batch.term_positions)

    def _over_ranks(self, value: int, operation: torch.distributed.ReduceOp.RedOpType) -> int:
        combined = torch.tensor([value])
        torch.distributed.all_reduce(combined, operation)
        return int(combined)

    def _checksums(self) -> dict[str, str]:
        kept, _ = distinct(self._policy.weights.tensors())
        return dict(chain.from_iterable(tensor_checksums(part).items() for part in parts(kept)))
