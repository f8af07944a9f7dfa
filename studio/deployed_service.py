"""All of the endpoint's deployments on Ray Serve: started together, waited for, given new weights, ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve

from actors.diffuser import Diffuser
from actors.inverse_diffuser import InverseDiffuser
from presets.errors import RunFailed
from presets.run_file import model_source
from serving.applications import wait_for_applications
from serving.batch_queue import Batching
from serving.deployment import deploy_vlms
from serving.serve_controller import serve_applications
from studio.config import GatewayConfig
from studio.episodes.image_deployments import QUEUED_BATCHES, DrawReplica, EditReplica, build_image_app
from studio.episodes.service import RAW_MODEL, TRAINED_MODEL
from studio.exposure import check_exposure, free_port, in_url
from studio.ingress import ENDPOINT, Served, ServedModel, build_endpoint
from weights.adapter_folder import adapter_update
from weights.board import WeightBoard

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from presets.images import PipelineConfig
    from presets.run_config import RunConfig
    from serving.config import VlmConfig
    from serving.proxy.early_port import EarlyPort
    from weights.manifest import WeightUpdate
    from weights.receipts import WeightReceipt

_POLL_S = 0.25
_RAW = "-raw"


class DeployedService:
    """The endpoint and all models behind it, on the Ray that this process has joined.

    `config` says which models, how many replicas and where; `gateway` what the endpoint does with them. The models are
    those of `config`, under the name `rlrig`; with `raw`, another configuration, its Actor and its editor are deployed
    besides, and are called `rlrig-raw`.

    Args:
        versions: what the weights on disk of `rlrig` are called, by policy.
        token: the bearer token, empty for none.
        runs: the folder whose runs the pages show.
        note: hears of each part that became ready.
        early: answers at the endpoint's port until Serve listens there, and is closed then.

    Attributes:
        url: where the endpoint listens.

    Raises:
        BadInput: an address without a token, or a port that is taken.
        RunFailed, StartFailed, TimeoutError: a part did not start; all are ended again.
    """

    def __init__(
        self,
        config: RunConfig,
        gateway: GatewayConfig,
        *,
        raw: RunConfig | None = None,
        versions: Mapping[str, int] | None = None,
        token: str = "",
        runs: Path = Path("runs"),
        note: Callable[[str], None] = lambda _: None,
        early: EarlyPort | None = None,
    ) -> None:
        check_exposure(gateway, token)
        self._config, self._runs = config, runs.resolve()
        gateway = gateway.with_turns(config.rollout.turns)
        self._update_deadline_s = 4 * gateway.update_deadline_s  # the endpoint's own deadlines come first and say more
        port = early.port if early else free_port(gateway.host, gateway.port)
        self.url = f"http://{in_url(gateway.host)}:{port}"
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": gateway.host, "port": port},
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )
        if early:
            early.close()
        self._board = WeightBoard(config.rollout.deadline_s)
        self._applications: list[str] = []
        try:
            self._start(gateway, raw, dict(versions or {"actor": 0, "editor": 0}), token, note)
        except BaseException:
            self.close()
            raise

    def _start(
        self,
        gateway: GatewayConfig,
        raw: RunConfig | None,
        versions: dict[str, int],
        token: str,
        note: Callable[[str], None],
    ) -> None:
        config = self._config
        vlms = dict(config.vlms)
        checker = "checker" if "checker" in vlms else "actor"
        editors = {"editor": config}
        models = {TRAINED_MODEL: ServedModel("actor", "editor", versions)}
        if raw is not None:
            vlms["actor" + _RAW] = raw.actor_vlm
            editors["editor" + _RAW] = raw
            models[RAW_MODEL] = ServedModel("actor" + _RAW, "editor" + _RAW)
        vlms = {role: settings.model_copy(update={"max_replicas": None}) for role, settings in vlms.items()}
        self._applications = [*vlms, "diffuser", *editors, ENDPOINT]
        for policy, folder in config.models.adapters.items():
            self._board.publish(adapter_update(Path(folder), policy, versions.get(policy) or 1))
        labels = config.placement.required("vlm")
        deploy_vlms(vlms, self._board.name, labels, gateway.max_vlm_replicas)
        targets = [_diffuser_target(config, gateway)]
        targets += [_editor_target(name, one, gateway, self._board.name) for name, one in editors.items()]
        serve.run_many(targets, wait_for_applications_running=False, wait_for_ingress_deployment_creation=False)
        deadline_s = max(
            config.diffuser.start_deadline_s,
            config.editor.start_deadline_s,
            *(settings.start_deadline_s for settings in vlms.values()),
        )
        served = Served(
            diffuser="diffuser",
            checker=checker,
            models=models,
            batching={
                **{name: _vlm_batching(settings, gateway) for name, settings in vlms.items()},
                "diffuser": _image_batching(config.diffuser, gateway),
                **{name: _image_batching(one.editor, gateway) for name, one in editors.items()},
            },
            checker_settings=config.vlm.checker,
            max_tokens=config.vlm.actor.max_tokens,
            call_deadline_s=config.vlm.actor.call_deadline_s,
            image_size=config.diffuser.size,
            board=self._board.name,
            limits=config.prompt_limits,
            rollout=config.rollout,
            vocabulary=config.vocabulary,
        )
        target = serve.RunTarget(build_endpoint(served, gateway, token, self._runs), name=ENDPOINT, route_prefix="/")
        serve.run_many([target], wait_for_applications_running=False)
        wait_for_applications([ENDPOINT], deadline_s)
        _wait_for_answer(self.url, deadline_s)
        note(f"the endpoint's process answers, and waits for {', '.join(self._applications[:-1])}")
        wait_for_applications(self._applications[:-1], deadline_s, lambda role: note(f"{role}: ready"))
        note(f"ready: {self.url}/studio; models: {', '.join(models)}")

    @property
    def _endpoint(self) -> DeploymentHandle:
        return serve.get_app_handle(ENDPOINT)

    def apply_weights(self, update: WeightUpdate) -> list[WeightReceipt]:
        """Put new weights of a policy into the running service; see `ServiceWeights.apply`.

        Raises:
            WeightMismatch: the replicas refuse them and keep what they have.
            TimeoutError: they were not in place in time.
        """
        from weights.manifest import publish

        shared = update if _in_store(update) else publish(update)
        answer = self._endpoint.apply_weights.remote(shared)
        receipts: list[WeightReceipt] = answer.result(timeout_s=self._update_deadline_s)
        return receipts

    def load(self) -> dict[str, Any]:
        """See `Endpoint.load`."""
        load: dict[str, Any] = self._endpoint.load.remote().result(timeout_s=self._config.rollout.deadline_s)
        return load

    def trouble(self) -> dict[str, str]:
        """By Serve application, what keeps it from running; nothing where all run."""
        found = serve_applications()
        states = {name: found[name].status.value if name in found else "NOT_DEPLOYED" for name in self._applications}
        return {name: state for name, state in states.items() if state != "RUNNING"}

    def close(self) -> None:
        """End the endpoint, then the models, and Serve with them where it serves nothing else."""
        running = serve_applications().keys()
        if running <= set(self._applications):
            serve.shutdown()
        else:
            for name in reversed(self._applications):
                if name in running:
                    serve.delete(name)
        self._board.close()


def _in_store(update: WeightUpdate) -> bool:
    import ray

    return all(isinstance(bucket, ray.ObjectRef) for bucket in update.buckets)


def _image_batching(settings: PipelineConfig, gateway: GatewayConfig) -> Batching:
    """A batch at work on each replica; more only where they are full, of which replicas then hold some in stock."""
    most = max(settings.workers, gateway.max_image_replicas or 0)
    return Batching(gateway.max_batch, gateway.batch_wait_s, settings.workers, QUEUED_BATCHES * most)


def _vlm_batching(settings: VlmConfig, gateway: GatewayConfig) -> Batching:
    """Two calls for each replica: an engine works on both, and is never empty between them."""
    most = max(settings.replicas, gateway.max_vlm_replicas or 0)
    return Batching(gateway.max_batch, gateway.batch_wait_s, 2 * settings.replicas, QUEUED_BATCHES * most)


def _diffuser_target(config: RunConfig, gateway: GatewayConfig) -> serve.RunTarget:
    arguments = {"path": model_source(config.models.flux), "steps": config.diffuser.steps}
    return _image_target("diffuser", DrawReplica, Diffuser, config, config.diffuser, gateway, arguments)


def _editor_target(name: str, config: RunConfig, gateway: GatewayConfig, board: str) -> serve.RunTarget:
    arguments = {
        "path": model_source(config.models.edits_with),
        "steps": config.editor.ode_steps,
    }
    if name == "editor":
        arguments["board"] = board
    return _image_target(name, EditReplica, InverseDiffuser, config, config.editor, gateway, arguments)


def _image_target(
    name: str,
    deployment: Any,
    kind: Any,
    config: RunConfig,
    settings: Any,
    gateway: GatewayConfig,
    arguments: dict[str, Any],
) -> serve.RunTarget:
    common = {
        "image_size": config.diffuser.size.plain,
        "device": settings.device,
        "dtype": settings.dtype,
        "max_batch": gateway.max_batch,
        **settings.model_settings,
    }
    application = build_image_app(
        name,
        deployment,
        kind,
        {**common, **arguments},
        replicas=settings.workers,
        max_replicas=gateway.max_image_replicas,
        actor_options={
            "num_cpus": settings.cpus,
            "num_gpus": settings.gpus,
            **config.placement.actor_options("image"),
        },
        hang_s=config.rollout.deadline_s,
    )
    return serve.RunTarget(application, name=name, route_prefix=None)


def _wait_for_answer(url: str, deadline_s: float) -> None:
    import httpx

    ends, last = time.monotonic() + deadline_s, "nothing was tried"
    while time.monotonic() < ends:
        try:
            answer = httpx.get(f"{url}/healthz", timeout=deadline_s, trust_env=False)
            if answer.is_success:
                return
            last = f"status {answer.status_code}"
        except httpx.HTTPError as error:
            last = f"{type(error).__name__}: {error}"
        time.sleep(_POLL_S)
    raise RunFailed(
        f"{url}/healthz did not answer within {deadline_s:g} s ({last}); a cluster whose Serve ran before listens "
        "where that was told to; otherwise look into Ray's logs/serve"
    )
