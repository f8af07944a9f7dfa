"""The models that a run calls, behind handles that can be sent to any process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from actors.diffuser import Diffuser
from actors.fleet import Fleet
from actors.inverse_diffuser import InverseDiffuser
from learner.receipts import WeightReceipt, verify_receipts
from learner.transports.group import Group
from learner.transports.object_store import ObjectStore
from learner.transports.transport import Transport, TransportUnusable
from learner.transports.vllm_transfer import VllmTransfer
from learner.weight_board import WeightBoard
from learner.weights import WeightUpdate
from rollout.config_file import model_source
from rollout.errors import BadInput
from serving.application_keeper import ApplicationKeeper
from serving.own_checker import OwnChecker, new_checker
from serving.vlm_actor import Actor
from serving.vlm_checker import Checker
from serving.vlm_client import VlmClient
from serving.vlm_deployment import deploy_vlms, stop_vlms, wait_for_vlms

if TYPE_CHECKING:
    from rollout.config import RunConfig
    from rollout.progress import Progress

_EDITOR_CALLS = 4  # new weights are checked while edits go on
_RESTARTS = -1  # `Fleet.restart_s` and `rollout.max_attempts` are the limits


@dataclass(frozen=True)
class Models:
    """Handles of the Diffuser, the Inverse Diffuser, the Actor and the Checker, what brings new weights to the
    replicas of each policy that trains, and which of the four (by the names `diffuser`, `editor`, `actor`, `checker`)
    compute on GPUs. `checker_name` is `rollout.checker`: the VLM, or code of the user's own. `keeper` takes the VLMs
    away where the driver crashes on a cluster that lives on."""

    diffuser: Fleet
    editor: Fleet
    actor_vlm: VlmClient
    checker_vlm: VlmClient
    board: WeightBoard
    transports: dict[str, Transport]
    on_gpus: frozenset[str] = frozenset()
    checker_name: str = "vlm"
    keeper: ApplicationKeeper | None = None

    @cached_property
    def actor(self) -> Actor:
        return Actor(self.actor_vlm)

    @cached_property
    def checker(self) -> Checker | OwnChecker:
        return new_checker(self.checker_name, self.checker_vlm)

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
        fleets = {"diffuser": self.diffuser, "editor": self.editor}
        vlms = {"actor": self.actor_vlm, "checker": self.checker_vlm}
        found = {
            **{role: max(fleets[role].broadcast("peak_gpu_bytes").values()) for role in fleets if role in self.on_gpus},
            **{role: vlms[role].peak_gpu_bytes() for role in vlms if role in self.on_gpus},
        }
        return {role: size for role, size in found.items() if size is not None}

    def close(self, keep_serve: bool = False) -> None:
        """End all processes; `keep_serve` leaves Serve itself to the Ray instance that ends with the run."""
        for transport in self.transports.values():
            transport.close()
        self.diffuser.close()
        self.editor.close()
        stop_vlms(["actor", "checker"], keep_serve)
        self.board.close()
        if self.keeper is not None:
            self.keeper.close()


def start_models(config: RunConfig, progress: Progress) -> Models:
    """Start all models at the same time and return when each of them takes calls.

    Raises:
        BadInput: a transport of `sync` cannot reach the replicas.
        ModelLoadError, BrokenModelFolder: a model folder is damaged.
        VlmError, FleetError, TimeoutError: a model did not start.
    """
    vlms = {"actor": config.vlm.actor, "checker": config.vlm.checker}
    keeper = ApplicationKeeper.start(list(vlms), config.rollout.deadline_s) if config.ray.address else None
    board = WeightBoard(config.rollout.deadline_s)
    deployment = deploy_vlms(vlms, board.name, config.placement.required("vlm"))
    fleets: list[Fleet] = []
    transports: dict[str, Transport] = {}
    try:
        for kind, settings, path, calls, more in (
            (Diffuser, config.diffuser, config.models.flux, 1, {"steps": config.diffuser.steps}),
            (
                InverseDiffuser,
                config.editor,
                config.models.edits_with,
                _EDITOR_CALLS,
                {"board": board.name, "steps": config.editor.ode_steps},
            ),
        ):
            resources = {"num_cpus": settings.cpus, "num_gpus": settings.gpus}
            placement = config.placement.actor_options("image")
            fleets.append(
                Fleet.start(
                    kind,
                    settings.workers,
                    {**resources, **placement, "max_restarts": _RESTARTS, "max_concurrency": calls},
                    deadline_s=settings.call_deadline_s,
                    restart_s=config.rollout.restart_s,
                    start_deadline_s=settings.start_deadline_s,
                    path=model_source(path),
                    image_size=config.diffuser.image_size,
                    device=settings.device,
                    dtype=settings.dtype,
                    **settings.model_settings,
                    **more,
                )
            )
            progress.note(f"{kind.__name__}: {settings.workers} ready")
        clients = wait_for_vlms(deployment, vlms, lambda role: progress.note(f"{role} on vLLM: ready"))
        if keeper is not None:
            keeper.watch_these()
        transports |= new_transports(config, fleets[1], clients["actor"])
        for transport in transports.values():
            transport.start()
    except BaseException as error:
        for opened in (*transports.values(), *fleets):
            opened.close()
        stop_vlms(list(vlms), config.ray.address is None)
        board.close()
        if keeper is not None:
            keeper.close()
        if isinstance(error, TransportUnusable):
            raise BadInput(str(error)) from error
        raise
    gpus = {"diffuser": config.diffuser, "editor": config.editor, **vlms}
    on_gpus = frozenset(role for role, settings in gpus.items() if settings.gpus)
    vlm_clients = (clients["actor"], clients["checker"])
    return Models(fleets[0], fleets[1], *vlm_clients, board, transports, on_gpus, config.rollout.checker, keeper)


def new_transports(config: RunConfig, editor: Fleet, actor: VlmClient) -> dict[str, Transport]:
    """What `sync` chooses, by policy; nothing is started."""
    sync = config.sync
    transports: dict[str, Transport] = {"actor": ObjectStore(actor), "editor": ObjectStore(editor)}
    if sync.actor != "object_store":
        transports["actor"] = VllmTransfer(actor, sync.actor, sync.sender_gpus)
    if sync.editor != "object_store":
        share = sync.sender_gpus if sync.editor == "nccl" else 0.0
        transports["editor"] = Group(editor, sync.editor, share, sync.deadline_s)
    return transports
