"""The models that a run calls, behind handles that can be sent to any process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.diffuser import Diffuser
from actors.fleet import Fleet
from actors.inverse_diffuser import InverseDiffuser
from learner.editor_rank import EditorRank
from presets.errors import BadInput
from presets.run_file import model_source
from presets.settings import RolloutConfig
from presets.sharing.colocated import is_colocated
from rewards.fleet.fleets import close_fleets, start_fleets
from scenes.dialogues.dialogue import Dialogue, load_dialogue
from serving.actor import Actor
from serving.application_keeper import ApplicationKeeper
from serving.checker import Checker
from serving.client import VlmClient
from serving.deployment import checker_of, deploy_vlms, stop_vlms, wait_for_vlms
from serving.own_checker import OwnChecker, new_checker
from weights.adapter_folder import adapter_update
from weights.board import WeightBoard
from weights.manifest import WeightUpdate
from weights.receipts import WeightReceipt, verify_receipts
from weights.transports.chosen import new_transports
from weights.transports.transport import Transport, TransportUnusable

if TYPE_CHECKING:
    from presets.images import PipelineConfig
    from presets.run_config import RunConfig
    from rollout.progress import Progress

_EDITOR_CALLS = 4  # new weights are checked while edits go on
_RESTARTS = -1  # `Fleet.restart_s` and `rollout.max_attempts` are the limits


@dataclass(frozen=True)
class Models:
    """Handles of the Diffuser, the Inverse Diffuser, the Actor and the Checker, what brings new weights to the
    replicas of each policy that trains, and which of the four (by the names `diffuser`, `editor`, `actor`, `checker`)
    compute on GPUs. `rollout` names the dialogue, and the checker: the VLM, or code of the user's own. `keeper` takes
    the VLMs away where the driver crashes on a cluster that lives on. `scorers` are those that are Ray actors."""

    diffuser: Fleet
    editor: Fleet
    actor_vlm: VlmClient
    checker_vlm: VlmClient
    board: WeightBoard
    transports: dict[str, Transport]
    on_gpus: frozenset[str] = frozenset()
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    keeper: ApplicationKeeper | None = None
    scorers: dict[str, Fleet] = field(default_factory=dict)

    @cached_property
    def _dialogue(self) -> Dialogue:
        return load_dialogue(self.rollout.dialogue, self.rollout.dialogue_texts, self.rollout.tell_unmet)

    @cached_property
    def actor(self) -> Actor:
        return Actor(self.actor_vlm, self._dialogue)

    @cached_property
    def checker(self) -> Checker | OwnChecker:
        settings = self.rollout
        return new_checker(settings.checker, self.checker_vlm, self._dialogue, settings.least_mass)

    def apply_weights(self, update: WeightUpdate) -> list[WeightReceipt]:
        """Give new weights to every replica of the policy that they are for, and check what each one then holds. A
        replica that dies or hangs meanwhile is replaced, and starts with them.

        Raises:
            WeightMismatch: a replica holds something else than was sent, or the same as before.
            TimeoutError, FleetError, VlmError: a replica did not answer, and was not replaced.
        """
        self.board.publish(update)
        policy = update.manifest.policy
        receipts = self.transports[policy].deliver(update)
        replicas = self.editor.names
        if policy == "actor":
            receipts, replicas = self.actor_vlm.held_now(update, receipts)
        self.board.keep(policy)
        verify_receipts(update.manifest, receipts, replicas)
        return receipts

    def peak_gpu_bytes(self) -> dict[str, int]:
        """The most GPU memory that a process of each role on GPUs held since the last call; a VLM that does not answer
        just now is left out.

        Raises:
            FleetError: a pipeline's replica did not answer, nor the one that took its place.
        """
        found: dict[str, int] = {}
        for role in sorted(self.on_gpus):
            handle = self._handles[role]
            if isinstance(handle, Fleet):
                found[role] = max(handle.broadcast("peak_gpu_bytes").values())
            elif (size := handle.peak_gpu_bytes()) is not None:
                found[role] = size
        return found

    def sleep(self, roles: Sequence[str]) -> None:
        """Let these roles leave their GPUs, for others that work there.

        Raises:
            FleetError, VlmError, TimeoutError: a replica did not answer.
        """
        for role in roles:
            handle = self._handles[role]
            handle.broadcast("sleep") if isinstance(handle, Fleet) else handle.sleep()

    def wake(self, roles: Sequence[str]) -> None:
        """Let them be back there. Raises as `sleep`."""
        for role in roles:
            handle = self._handles[role]
            handle.broadcast("wake") if isinstance(handle, Fleet) else handle.wake()

    def gpus(self) -> dict[str, list[str]]:
        """The GPU of each process, by NVIDIA's name, for each role on GPUs. Raises as `sleep`."""
        found: dict[str, list[str]] = {}
        for role in sorted(self.on_gpus):
            handle = self._handles[role]
            if isinstance(handle, Fleet):
                found[role] = [gpu for gpu in handle.broadcast("gpu_uuid").values() if gpu]
            else:
                found[role] = [gpu for address in handle.addresses() for gpu in address.gpus]
        return found

    @property
    def _handles(self) -> dict[str, Fleet | VlmClient]:
        return {
            "diffuser": self.diffuser,
            "editor": self.editor,
            "actor": self.actor_vlm,
            "checker": self.checker_vlm,
        }

    def close(self, keep_serve: bool = False) -> None:
        """End all processes; `keep_serve` leaves Serve itself to the Ray instance that ends with the run."""
        for transport in self.transports.values():
            transport.close()
        self.diffuser.close()
        self.editor.close()
        stop_vlms(["actor", "checker"], keep_serve)
        close_fleets(self.scorers)
        self.board.close()
        if self.keeper is not None:
            self.keeper.close()


class ModelStart:
    """Models that are being started. The VLMs take the longest, so they are begun at once; `finish` starts the others
    and waits for all, `abandon` ends what has been started."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._vlms = config.vlms
        self._deployed: list[str] = []
        with ExitStack() as undo:
            self._keeper = None
            if config.ray.address:
                self._keeper = ApplicationKeeper.start(list(self._vlms), config.rollout.deadline_s)
                undo.callback(self._keeper.close)
            self._board = WeightBoard(config.rollout.deadline_s)
            undo.callback(self._board.close)
            for policy, folder in config.models.adapters.items():
                self._board.publish(adapter_update(Path(folder), policy, version=1))
            self._deploy([role for role in self._vlms if config.placement.leader(role) is None])
            own = config.ray.address is None  # Serve then ends the VLMs by itself, or Ray does with all else
            undo.callback(stop_vlms, list(self._vlms), keep_serve=own, wait=not own)
            self._started = undo.pop_all()

    def _deploy(self, roles: Sequence[str]) -> None:
        if roles:
            wanted = {role: self._vlms[role] for role in roles}
            deploy_vlms(wanted, self._board.name, self._config.placement.required("vlm"))
            self._deployed += roles

    def abandon(self) -> None:
        """End all that was started."""
        self._started.close()

    def finish(self, progress: Progress) -> Models:
        """Return when each model takes calls; where one does not come, all are ended.

        Raises:
            BadInput: a transport of `sync` cannot reach the replicas.
            ModelLoadError, BrokenModelFolder: a model folder is damaged.
            VlmError, FleetError, TimeoutError: a model did not start.
        """
        with self._started as undo:
            try:
                models = self._finish(progress, undo)
            except TransportUnusable as error:
                raise BadInput(str(error)) from error
            undo.pop_all()
        return models

    def _finish(self, progress: Progress, undo: ExitStack) -> Models:
        config, flux, edits_with = self._config, self._config.models.flux, self._config.models.edits_with
        steps = {"steps": config.diffuser.steps}
        diffuser = None
        if not config.diffuser.share:
            diffuser = self._fleet(Diffuser, config.diffuser, flux, 1, steps, undo, progress)
        more = {"board": self._board.name, "steps": config.editor.ode_steps, "draw_steps": config.diffuser.steps}
        kind: type = InverseDiffuser
        if is_colocated(config):
            kind, more["threads"] = EditorRank, config.learner.editor.threads
        editor = self._fleet(kind, config.editor, edits_with, _EDITOR_CALLS, more, undo, progress)
        if diffuser is None:  # the same processes; what they draw is counted by itself
            diffuser = Fleet(editor.handles, editor.deadline_s, editor.restart_s)
        for role in self._vlms:
            if config.placement.leader(role) is not None:  # its GPUs are those on which others are now
                if self._deployed:
                    wait_for_vlms({other: self._vlms[other] for other in self._deployed})
                self._deploy([role])
        clients = wait_for_vlms(self._vlms, lambda role: progress.note(f"{role} on vLLM: ready"))
        held = {"actor": clients["actor"].versions(), "editor": editor.broadcast("version")}
        for policy, folder in config.models.adapters.items():
            if without := sorted(name for name, version in held[policy].items() if version == 0):
                raise RuntimeError(f"models.adapters.{policy}: {', '.join(without)} started without {folder}")
        if self._keeper is not None:
            self._keeper.watch_these()
        transports = new_transports(config.sync, editor, clients["actor"], is_colocated(config))
        for transport in transports.values():
            undo.callback(transport.close)
            transport.start()
        gpus: dict[str, float] = {"diffuser": config.diffuser.gpus, "editor": config.editor.gpus}
        gpus |= {role: settings.gpus for role, settings in self._vlms.items()}
        on_gpus = frozenset(role for role, share in gpus.items() if share)
        vlms = (clients["actor"], checker_of(clients, config.vlm.checker))
        scorers = start_fleets(config, progress.note)
        return Models(diffuser, editor, *vlms, self._board, transports, on_gpus, config.rollout, self._keeper, scorers)

    def _fleet(
        self,
        kind: type,
        settings: PipelineConfig,
        path: str,
        calls: int,
        more: Mapping[str, Any],
        undo: ExitStack,
        progress: Progress,
    ) -> Fleet:
        config = self._config
        placement = config.placement.actor_options("image")
        options = {"num_cpus": settings.cpus, "num_gpus": settings.gpus, **placement}
        if kind is EditorRank:
            options["runtime_env"] = {"env_vars": config.learner.editor.environment}
        fleet = Fleet.start(
            kind,
            settings.workers,
            {**options, "max_restarts": _RESTARTS, "max_concurrency": calls},
            deadline_s=settings.call_deadline_s,
            restart_s=config.rollout.restart_s,
            start_deadline_s=settings.start_deadline_s,
            **settings.worker_arguments(model_source(path), config.diffuser.size),
            **more,
        )
        undo.callback(fleet.close)
        progress.note(f"{kind.__name__}: {settings.workers} ready")
        return fleet


def start_models(config: RunConfig, progress: Progress) -> Models:
    """Start all models at the same time and return when each of them takes calls. Raises as `ModelStart.finish`."""
    return ModelStart(config).finish(progress)
