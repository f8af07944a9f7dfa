"""A round of the one-GPU preset in turns: sampling, then each policy's learner, whose adapter goes to the replicas."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.flow_path import FlowSde
from benchmarks.gpu_round.found import Found, Sync
from benchmarks.gpu_round.memory import CardWatch
from benchmarks.gpu_round.work import forward
from benchmarks.training_batches import editor_sample
from learner.samples import ActorSample, EditorSample
from presets.memory.estimate import Estimate
from presets.memory.sizes import Sizes
from presets.run_config import RunConfig
from rollout.learning.devices import Devices
from rollout.learning.policies import Policies
from rollout.models import Models
from rollout.progress import Progress
from rollout.prompts import load_prompts
from scenes.dialogue import edit_prompt

if TYPE_CHECKING:
    from learner.ranks import Learner
    from scenes.scene_graph import SceneGraph

Phase = Callable[[str], AbstractContextManager[None]]
MOVES = (" leaves", " is back")
"""How phases end in which a role leaves its GPU, or comes back."""
_SAMPLING = ("draw", "check", "reflect", "edit", "check again")


@dataclass(frozen=True)
class Rollout:
    """What both policies learn from: one answer and one edit for each member of each prompt's group."""

    answers: list[ActorSample]
    edits: list[EditorSample]
    readable: int


def sde_of(config: RunConfig) -> FlowSde:
    """How edits are sampled that are learned from."""
    return FlowSde(config.editor.eta, config.editor.steps, config.editor.sde_window)


class TimedModels:
    """`Models` whose roles leave their GPUs and come back one by one, each as a phase."""

    def __init__(self, models: Models, progress: Progress) -> None:
        self._models, self._progress = models, progress

    def sleep(self, roles: Sequence[str]) -> None:
        """See `Models.sleep`."""
        for role in roles:
            with self._progress.phase(f"{role}{MOVES[0]}"):
                self._models.sleep([role])

    def wake(self, roles: Sequence[str]) -> None:
        """See `Models.wake`."""
        for role in roles:
            with self._progress.phase(f"{role}{MOVES[1]}"):
                self._models.wake([role])

    def gpus(self) -> dict[str, list[str]]:
        """See `Models.gpus`."""
        return self._models.gpus()


class Turns:
    """One round.

    Args:
        config: the run.
        models: that it samples with.
        progress: keeps the seconds of each phase.
        watch: of the card.
        planned: what each process holds, by role.
        found: gets the numbers.
        folder: where a learner's state would be kept.
    """

    def __init__(
        self,
        config: RunConfig,
        models: Models,
        progress: Progress,
        watch: CardWatch,
        planned: dict[str, Estimate],
        found: Found,
        folder: Path,
    ) -> None:
        self._config, self._models, self._progress, self._watch = config, models, progress, watch
        self._planned, self._found = planned, found
        timed: Any = TimedModels(models, progress)
        self._devices = Devices(config, timed, progress)
        self._policies = Policies(config, folder, models.board.settle, self._devices, models.editor.handles.values())
        self._sizes = Sizes(ask_hub=False)
        self.card: dict[str, float | None] = {}

    def rollout(self, prompts: int, group: int) -> Rollout:
        """Draw an image for each prompt, judge it, reflect on it, edit it as the answers say, and judge the edits."""
        config, models, progress = self._config, self._models, self._progress
        graphs = [load_prompts(config.data, config.seed).at(index) for index in range(prompts)]
        with progress.phase("warm up"):
            self._sample(graphs[:1], 1, lambda _: nullcontext())
        with progress.phase("rollout"):
            sampled = self._sample(graphs, group, progress.phase)
        self.card["rollout"] = self._watch.take()
        for role, nbytes in (dict.fromkeys(("editor", "actor"), 0) | models.peak_gpu_bytes()).items():
            self._found.held(role, nbytes, self._planned[role].known)
        seconds, edits = progress.total_seconds_by_phase(), len(sampled.edits)
        self._rollout_s = sum(seconds[phase] for phase in ("rollout", *_SAMPLING))
        self._found.readable = sampled.readable
        self._found.images_per_second |= {
            "draw": prompts / seconds["draw"],
            "edit": edits / seconds["edit"],
            "rollout": edits / self._rollout_s,
        }
        return sampled

    def update(self, policy: str, samples: Sequence[ActorSample] | Sequence[EditorSample]) -> None:
        """Start the policy's learner, let it learn twice, and give its adapter to the replicas. The second update is
        measured: the first, of a micro-batch, chooses and compiles kernels."""
        progress, settings = self._progress, getattr(self._config.learner, policy)
        try:
            with progress.phase(f"start learner of the {policy}"):
                learner = self._policies.learner(policy)
            self._watch.take()
            self._time_switches(learner)
            with self._devices.learning(learner):
                with progress.phase(f"warm up learner of the {policy}"):
                    held = learner.update(samples[: settings.micro_batch]).gpu_bytes
                with progress.phase(f"update of the {policy}"):
                    stats = learner.update(samples)
                self.card[f"update of the {policy}"] = self._watch.take()
                began = time.monotonic()
                update = learner.weights(stats.version)
                packed = time.monotonic() - began
            role = f"learner.{policy}"
            self._found.held(role, max(held, stats.gpu_bytes), self._planned[role].known)
            self._found.updated(policy, stats, forward(policy, samples, self._config, self._sizes), settings)
            if policy == "editor":
                seconds = stats.compute_seconds
                self._found.images_per_second["update"] = len(samples) / seconds
                self._found.images_per_second["rollout and update"] = len(samples) / (self._rollout_s + seconds)
            began = time.monotonic()
            self._models.apply_weights(update)
            applied = time.monotonic() - began
            megabytes = sum(spec.nbytes for spec in update.manifest.tensors) / 1e6
            self._found.sync[policy] = Sync(packed, applied, megabytes)
        finally:
            self._policies.abandon()

    def _sample(self, graphs: Sequence[SceneGraph], group: int, phase: Phase) -> Rollout:
        config, models = self._config, self._models
        dialogue, seeds = config.dialogue, list(range(len(graphs) * group))
        wanted = [graph.related for graph in graphs]
        with phase("draw"):
            images = models.diffuser.draw([graph.prompt for graph in graphs], seeds[: len(graphs)])
        with phase("check"):
            models.checker.satisfaction(images, wanted)
        requests = [dialogue.request(each, each) for each in wanted]
        with phase("reflect"):
            rows = models.actor.reflect(
                images, requests, group, config.rollout.sampling_temperature, seeds[: len(graphs)]
            )
        sources = [image for image in images for _ in range(group)]
        made_up = [edit_prompt(*each[0].triple) for each in wanted for _ in range(group)]
        answers = [answer for row in rows for answer in row]
        said = [
            own if answer.reflection is None else answer.reflection.edit_prompt
            for answer, own in zip(answers, made_up, strict=True)
        ]
        with phase("edit"):
            edits = models.editor.edit(sources, said, seeds, sde=sde_of(config))
        with phase("check again"):
            models.checker.satisfaction([edit.image for edit in edits], [each for each in wanted for _ in range(group)])
        signs = [1.0 if index % 2 else -1.0 for index in seeds]
        asked = [request for request in requests for _ in range(group)]
        return Rollout(
            [
                ActorSample(image, request, answer.token_ids, answer.log_probs, sign)
                for image, request, answer, sign in zip(sources, asked, answers, signs, strict=True)
            ],
            [editor_sample(*parts) for parts in zip(sources, said, edits, signs, strict=True)],
            sum(answer.reflection is not None for answer in answers),
        )

    def _time_switches(self, learner: Learner) -> None:
        """Make each move of this learner a phase."""
        for method, told in zip(("sleep", "wake"), MOVES, strict=True):
            setattr(learner, method, self._timed(f"learner of the {learner.policy}{told}", getattr(learner, method)))

    def _timed(self, name: str, move: Callable[[], None]) -> Callable[[], None]:
        def timed() -> None:
            with self._progress.phase(name):
                move()

        return timed
