"""An Inverse Diffuser that is a rank of its own learner, too: one process, one copy of the model, one adapter."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ray

from actors.gpu import release_gpu_memory
from actors.inverse_diffuser import POLICY, InverseDiffuser
from learner.ranks import LearnerFailed, RankActor
from weights.manifest import WeightMismatch

if TYPE_CHECKING:
    from learner.config import LearnerConfig
    from weights.manifest import Manifest, WeightUpdate
    from weights.receipts import WeightReceipt
    from weights.shared_adapter import SharedAdapter

_LEARNER = "learner"  # calls of the learner, in their order, beside those of who samples


class EditorRank(InverseDiffuser):
    """Samples with the adapter that it trains. `learner.ranks.Learner` is given its handle.

    It is a rank from `become` to `stop`, and an Inverse Diffuser all the time: between, before and after. Sampling and
    training never compute at the same time; what comes while the other one works waits. Before the first update the
    adapter changes nothing, as its B is zero, so that version 0 is the model on disk to the last bit.

    A process that Ray starts again samples with the newest weights of its board, as any Inverse Diffuser. It is no rank
    any more, for the optimizer's state ended with the one before it, and tells the learner so.

    Arguments and errors as those of InverseDiffuser.
    """

    concurrency_groups: ClassVar[dict[str, int]] = {_LEARNER: 1}
    _rank: RankActor | None = None
    _trained: SharedAdapter | None = None  # from the first `start` on
    _answered = ""  # probe of the version that was confirmed last

    def __init__(self, path: str | Path, replica: str = "editor-rank-0", **settings: Any) -> None:
        super().__init__(path, replica, **settings)

    def receipt(self) -> WeightReceipt:
        """See InverseDiffuser; of what it trains, the version that was confirmed last."""
        return super().receipt() if self._trained is None else self._trained.receipt

    @ray.method(concurrency_group=_LEARNER)  # type: ignore[untyped-decorator]
    def become(self, policy: str, model_path: str, config: LearnerConfig, settings: dict[str, Any], rank: int) -> None:
        """Be rank number `rank` of a learner from now on; arguments as those of LearnerRank. The model is this
        process's own, so that `model_path` and `settings` must be those that it was loaded with.

        Raises:
            ValueError: another policy, or no adapter.
        """
        if policy != POLICY or config.lora is None:
            raise ValueError(f"{self.replica} trains an adapter of policy {POLICY!r}, and nothing else")
        self._rank = RankActor(policy, model_path, config, {**settings, "model": self.model}, rank)

    @ray.method(concurrency_group=_LEARNER)  # type: ignore[untyped-decorator]
    def learn(self, method: str, *arguments: Any) -> Any:
        """A call of the learner's: a method of LearnerRank.

        Raises:
            LearnerFailed: this process is no rank.
            Exception: what the method raises.
        """
        if self._rank is None:
            raise LearnerFailed(self._no_rank)
        with self._at_work:
            if method == "start":
                return self._start(*arguments)
            answer = getattr(self._rank, method)(*arguments)
            if method == "stop":
                self._rank = None
                gc.collect()  # engine and policy hold each other
                release_gpu_memory()
            return answer

    def confirm_weights(self, manifest: Manifest) -> WeightReceipt:
        """A receipt for what it samples with, which is compared with what the learner says that it has trained.

        Raises:
            LearnerFailed: this process has trained nothing.
            WeightMismatch: see `SharedAdapter.confirm`.
        """
        with self._at_work:
            if self._trained is None:
                raise LearnerFailed(self._no_rank)
            receipt = self._trained.confirm(manifest)
            before, self._answered = self._answered, self._probe()
            return replace(receipt, probe=self._answered, previous_probe=before)

    def apply_weights(self, update: WeightUpdate) -> WeightReceipt:
        """See InverseDiffuser: for a process that starts, and has trained nothing.

        Raises:
            WeightMismatch: it has an adapter of its own.
        """
        if self._trained is not None:
            raise WeightMismatch(f"replica {self.replica!r} samples with what it trains, and takes no weights")
        return super().apply_weights(update)

    @property
    def _no_rank(self) -> str:
        return (
            f"{self.replica}: its process was started again and trains no more: what it had learned since the last "
            "checkpoint ended with the one before it. Go on from there with --resume"
        )

    @property
    def _adapted(self) -> bool:
        return self._trained is not None or super()._adapted

    def _start(self, host: str, port: int) -> int:
        from weights.lora import adapted_layers  # loads peft, which whoever holds a handle does not need
        from weights.shared_adapter import SharedAdapter

        assert self._rank is not None, "`learn` has looked"
        before, self._answered = self.receipt(), self._probe()
        transformer: Any = self.model.transformer
        if adapted_layers(transformer):  # of the stage before, or the board's; the learner has a state to load
            transformer.unload_lora()
        parameters = self._rank.start(host, port)
        self._trained = SharedAdapter(transformer, before)
        return parameters
