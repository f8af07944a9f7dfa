"""The learner of one policy, as the driver holds it: DeepSpeed on one or more ranks, called together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import ray

from actors.site import Site, end_of, lacks_memory, last_line, this_site
from learner.config import LearnerConfig
from learner.rank import LearnerRank
from learner.samples import ActorSample, EditorSample
from learner.saving.atomic_directory import atomic_directory, recover
from learner.stats import LearnerStats, merge
from weights.manifest import WeightUpdate

_SAMPLE_TYPES = {"actor": ActorSample, "editor": EditorSample}
_LOOPBACK = "127.0.0.1"
_CLOSE_DEADLINE_S = 10.0
_LEAVE_S = 2.0  # for ranks to leave their process group; one that is in an update does not hear of it
_LEAVE_LENT_S = 30.0  # for those whose processes go on
_WAY_ON = "; go on from the last checkpoint with --resume"
_MEANWHILE_S = 0.1


class LearnerFailed(RuntimeError):
    """A rank of the learner died or did not answer in time; the learner is closed."""


class RankActor(LearnerRank):
    """LearnerRank with what only a Ray actor knows."""

    def __repr__(self) -> str:
        return f"Learner-{self._policy_name}-rank-{self._rank}"  # in Ray's dashboard and logs

    def site(self) -> Site:
        """Where the rank runs."""
        return this_site()


class Learner:
    """Trains one policy. Starting it loads the model on every rank; `close` ends the processes.

    All ranks answer every call, each call has a deadline, and an error of a rank is raised here. Where several ranks
    share the batch, or a rank is lost, an error ends all of them: the others would wait for the one that failed.

    Args:
        policy: `actor` (a vision-language model) or `editor` (the transformer of an editing pipeline).
        model_path: folder or hub id of the model to start from.
        config: settings.
        model_settings: for the editor, what ImageModel takes besides the path (`image_size`, …), as in the rollout.
        options: further options of the ranks' Ray actors, such as label_selector.
        lent: Ray actors that are the ranks (`learner.editor_rank.EditorRank`) in place of processes of the learner's
            own. They go on when it is closed, and one that it must end is started again by Ray.

    Raises:
        LearnerFailed: a rank died, or was not ready within `config.start_deadline_s`.
        ValueError, OSError, ModelLoadError: the model cannot be loaded.
    """

    def __init__(
        self,
        policy: str,
        model_path: str | Path,
        config: LearnerConfig,
        model_settings: dict[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        lent: Sequence[ray.actor.ActorHandle] = (),
    ) -> None:
        if policy not in _SAMPLE_TYPES:
            raise ValueError(f"policy is {policy!r}; it must be one of {', '.join(_SAMPLE_TYPES)}")
        self.policy, self.config, self.version = policy, config, 0
        folder = Path(model_path)
        self.model = str(folder.resolve()) if folder.exists() else str(model_path)
        self.sites: list[Site] = []
        self._samples = 0  # those that were added since the last update
        self._ranks, self._lent = list(lent), bool(lent)
        settings = (policy, self.model, config, model_settings or {})
        for number, rank in enumerate(self._ranks):
            rank.become.remote(*settings, number)
        if not lent:
            actor = ray.remote(RankActor).options(
                num_cpus=config.cpus_per_rank,
                num_gpus=config.gpus_per_rank,
                runtime_env={"env_vars": config.environment},
                max_restarts=0,
                **(options or {}),
            )
            self._ranks = [actor.remote(*settings, number) for number in range(config.ranks)]
        try:
            self._start(config.start_deadline_s)
        except BaseException:
            self._kill()
            raise

    def add(self, batch: Sequence[ActorSample] | Sequence[EditorSample]) -> None:
        """Give the ranks a part of the next update's batch, and return at once; they begin to work on it.

        What goes wrong with it is raised by `update`.

        Raises:
            ValueError: samples of the other policy.
            LearnerFailed: the learner is closed.
        """
        self._check(batch)
        if batch:
            shared = ray.put(list(batch))
            for rank in self._open_ranks():
                self._ask(rank, "add", shared)
            self._samples += len(batch)

    def update(
        self, batch: Sequence[ActorSample] | Sequence[EditorSample] = (), meanwhile: Callable[[], None] | None = None
    ) -> LearnerStats:
        """One update of the policy, from this batch and what was added since the last one: `epochs` × `minibatches`
        optimizer steps; the version grows by one.

        `meanwhile` is called again and again until the ranks are done; it must not take long.

        Raises:
            ValueError: no sample at all, or samples of the other policy.
            FloatingPointError: a loss or gradient that is not finite.
            RuntimeError: no parameter changed, or the ranks ended with different weights.
            LearnerFailed: a rank was lost.
        """
        self._check(batch)
        samples, self._samples = self._samples + len(batch), 0
        if samples == 0:
            raise ValueError(f"policy {self.policy!r}: the batch is empty; an update needs at least one sample")
        started = time.monotonic()
        if self._lent:  # one that was started again says so, before the others wait for it in vain
            self._call(self._open_ranks(), "site", (), None, meanwhile)
        ranks = self._call(self._open_ranks(), "update", (ray.put(list(batch)),), None, meanwhile)
        self.version += 1
        seconds = time.monotonic() - started
        return merge(ranks, self.policy, self.version, samples, self.config.kl_coefficient, seconds)

    def weights(self, version: int | None = None, averaged: bool = False) -> WeightUpdate:
        """What trains now, all weights or an adapter, with its manifest; the buckets are references into the object
        store. `averaged`: its average over the updates, with `config.ema`.

        Raises:
            ValueError: `version` is given and is not the learner's.
        """
        update: WeightUpdate = self._all("averaged_weights" if averaged else "weights", version)[0]
        return update

    def sleep(self) -> None:
        """Leave the GPUs, for others that work there; before the next call that computes comes `wake`."""
        self._all("sleep")

    def wake(self) -> None:
        """Be back on the GPUs."""
        self._all("wake")

    def gpus(self) -> list[str]:
        """The GPU of each rank, by NVIDIA's name; empty on CPUs."""
        return [gpu for gpu in self._all("gpu_uuid") if gpu]

    def save(self, folder: str | Path) -> None:
        """Write the resumable state (weights, optimizer, version) in one piece. All ranks must reach this path.

        Raises:
            DiskFull: no space; the state saved before is unchanged.
        """
        size = self.parameters * 4 * 5  # float32 weights and two moments, with ZeRO a flat copy, and some room
        size += self.parameters * 4 if self.config.ema else 0
        with atomic_directory(Path(folder).resolve(), needed_bytes=size) as staging:
            self._all("save", str(staging))

    def load(self, folder: str | Path) -> int:
        """Continue from what `save` wrote, and return the version.

        Raises:
            FileNotFoundError: nothing is saved there.
            ValueError: it is of another policy, number of ranks, ZeRO stage, adapter or base model, or it is damaged.
        """
        path = Path(folder).resolve()
        recover(path)
        self.version = self._all("load", str(path))[0]
        return self.version

    def export(self, folder: str | Path) -> Path:
        """Write the policy as a transformers folder (Actor) or a complete diffusers pipeline folder (editor). An
        adapter is added to its weights, and lies alone in the subfolder `lora`. With `config.ema` they are the average.

        Raises:
            DiskFull: no space; a folder exported before is unchanged.
        """
        path = Path(folder).resolve()
        self._all("export", str(path))
        return path

    def close(self) -> None:
        """End all ranks. May be called twice."""
        ranks, self._ranks = self._ranks, []
        if ranks:
            left = {self._ask(rank, "stop"): rank for rank in ranks}
            _, late = ray.wait(list(left), num_returns=len(left), timeout=_LEAVE_LENT_S if self._lent else _LEAVE_S)
            ranks = [left[call] for call in late] if self._lent else ranks
        self._end(ranks)

    def __enter__(self) -> Learner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, deadline_s: float) -> None:
        self.sites = self._all("site", deadline_s=deadline_s)
        nodes = [site.node for site in self.sites]
        host = _LOOPBACK if len(set(nodes)) == 1 else nodes[0]
        port = self._one("listen", host, deadline_s=deadline_s)
        self.parameters: int = self._all("start", host, port, deadline_s=deadline_s)[0]

    def _all(self, method: str, *arguments: Any, deadline_s: float | None = None) -> list[Any]:
        return self._call(self._open_ranks(), method, arguments, deadline_s)

    def _one(self, method: str, *arguments: Any, deadline_s: float | None = None) -> Any:
        return self._call(self._open_ranks()[:1], method, arguments, deadline_s)[0]

    def _open_ranks(self) -> list[Any]:
        if not self._ranks:
            raise LearnerFailed(f"the learner of policy {self.policy!r} is closed; start a new one")
        return self._ranks

    def _call(
        self,
        ranks: list[Any],
        method: str,
        arguments: tuple[Any, ...],
        deadline_s: float | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[Any]:
        deadline_s = self.config.deadline_s if deadline_s is None else deadline_s
        where = f"learner of policy {self.policy!r}, {method}"
        calls = {self._ask(rank, method, *arguments): index for index, rank in enumerate(ranks)}
        answers: dict[int, Any] = {}
        end = time.monotonic() + deadline_s
        waiting = list(calls)
        while waiting:
            left = max(0.0, end - time.monotonic())
            done, waiting = ray.wait(waiting, num_returns=1, timeout=min(left, _MEANWHILE_S) if meanwhile else left)
            if meanwhile and not done and left > 0:
                meanwhile()
                continue
            if not done:
                late = sorted(calls[call] for call in waiting)
                self._kill()
                raise LearnerFailed(
                    f"{where}: rank {late} did not answer within {deadline_s} s and was ended ({self._places(late)}); "
                    "raise deadline_s if the learner is only slow"
                )
            rank = calls[done[0]]
            try:
                answers[rank] = ray.get(done[0], timeout=_CLOSE_DEADLINE_S)
            except ray.exceptions.RayTaskError as error:
                starved = lacks_memory(error.cause)
                if len(self._ranks) > 1 or starved:
                    self._kill()
                if starved:
                    raise LearnerFailed(
                        f"{where}: rank {rank} could not get the memory that it needs ({self._places([rank])}): "
                        f"{last_line(error.cause)}; lower learner.{self.policy}.micro_batch, or use a larger node"
                    ) from error
                raise error.cause from error
            except ray.exceptions.RayError as error:
                self._kill()
                raise LearnerFailed(
                    f"{where}: rank {rank} was lost ({self._places([rank])}): {end_of(error)}{_WAY_ON * self._lent}"
                ) from error
        return [answers[index] for index in range(len(ranks))]

    def _check(self, batch: Sequence[ActorSample] | Sequence[EditorSample]) -> None:
        wanted = _SAMPLE_TYPES[self.policy]
        strange = next((sample for sample in batch if not isinstance(sample, wanted)), None)
        if strange is not None:
            raise ValueError(
                f"policy {self.policy!r} trains on {wanted.__name__}, the batch has a {type(strange).__name__}"
            )

    def _places(self, ranks: list[int]) -> str:
        return "; ".join(str(self.sites[rank]) for rank in ranks) if self.sites else "before it said where it runs"

    def _kill(self) -> None:
        ranks, self._ranks = self._ranks, []
        self._end(ranks)

    def _ask(self, rank: Any, method: str, *arguments: Any) -> ray.ObjectRef:
        return rank.learn.remote(method, *arguments) if self._lent else getattr(rank, method).remote(*arguments)

    def _end(self, ranks: list[Any]) -> None:
        for rank in ranks:
            ray.kill(rank, no_restart=not self._lent)
