"""The endpoint as a Serve deployment: the app in front of the service, and the way in for new weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve

from presets.settings import RolloutConfig
from scenes.dialogues.dialogue import load_dialogue
from scenes.pictures.size import PictureSize
from scenes.vocabulary.vocabulary import FOUR_RELATIONS, Vocabulary
from serving.batch_queue import Batching
from serving.client import VlmClient
from serving.config import VlmConfig
from serving.own_checker import new_checker
from serving.prompt_limits import PromptLimits
from serving.serve_controller import role_status
from studio.config import GatewayConfig
from studio.endpoint_app import endpoint_app
from studio.episodes.episode_service import EpisodeService, Line
from studio.episodes.role import Role
from studio.episodes.row_calls import RowCall, draw, edit, generate
from studio.episodes.service import TRAINED_MODEL
from studio.episodes.version_gate import VersionGate
from studio.episodes.weights import ServiceWeights
from weights.board import latest_weights

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

    from weights.manifest import WeightUpdate
    from weights.receipts import WeightReceipt

ENDPOINT = "endpoint"
_BOARD_DEADLINE_S = 60.0
_OTHER_REQUESTS = 64  # those beside the ones that make images: probes, pages


@dataclass(frozen=True)
class ServedModel:
    """One model of the endpoint: the Serve applications of its two policies, and what their weights on disk are
    called."""

    actor: str
    editor: str
    versions: dict[str, int] = field(default_factory=lambda: {"actor": 0, "editor": 0})


@dataclass(frozen=True)
class Served:
    """What the endpoint serves, by the names of Serve applications.

    Attributes:
        models: by the name that a request gives.
        batching: of each role, by the name of its application.
        checker_settings: of the Checker's VLM.
        rollout: names the dialogue, and the checker: that VLM or code of the user's own.
        max_tokens: most tokens of one answer of the Actor.
        call_deadline_s: seconds after which a VLM replica that does not answer counts as hanging.
        image_size: of the images.
        board: name of the `WeightBoard`.
        limits: which prompts the models can take, as far as it is known.
        vocabulary: what can be asked for.
    """

    diffuser: str
    checker: str
    models: Mapping[str, ServedModel]
    batching: Mapping[str, Batching]
    checker_settings: VlmConfig
    max_tokens: int
    call_deadline_s: float
    image_size: PictureSize
    board: str
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    limits: PromptLimits | None = None
    vocabulary: Vocabulary = FOUR_RELATIONS


@serve.ingress()
class Endpoint:
    """The one process that requests come to. It holds the gate between episodes and new weights and counts the requests
    of each client, so there is one of it; it only waits for the models.

    Args:
        served: what it serves.
        config: settings of the endpoint.
        token: the bearer token, empty for none.
        runs: the folder whose runs the pages show.
    """

    def __init__(self, served: Served, config: GatewayConfig, token: str, runs: Path) -> None:
        self._config, self._token, self._runs = config, token, runs
        self._limits, self._vocabulary = served.limits, served.vocabulary
        lines = {
            name: _line(model, served, served.board if name == TRAINED_MODEL else None, config)
            for name, model in served.models.items()
        }
        trained = lines[TRAINED_MODEL]
        handles = {"actor": trained.actor.handle, "editor": trained.editor.handle}
        self._weights = ServiceWeights(handles, served.board, trained.gate, config.update_deadline_s)
        checker = _role("checker", served.checker, served, generate, patient=True)
        vlm = VlmClient(checker.handle, checker.name, served.checker_settings, served.checker)
        told = served.rollout
        dialogue = load_dialogue(told.dialogue, told.dialogue_texts, told.tell_unmet)
        self._service = EpisodeService(
            _role("diffuser", served.diffuser, served, draw),
            checker,
            lines,
            image_size=served.image_size,
            max_tokens=served.max_tokens,
            checks=new_checker(served.rollout.checker, vlm, dialogue, served.rollout.least_mass),
            dialogue=dialogue,
            drawings=served.rollout.drawings,
            call_deadline_s=served.call_deadline_s,
            turn_deadline_s=config.turn_deadline_s,
            status=role_status,
            repair=self._weights.repair,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """What Serve asks for the app."""
        return endpoint_app(self._service, self._config, self._token, self._runs, self._limits, self._vocabulary)

    async def apply_weights(self, update: WeightUpdate) -> list[WeightReceipt]:
        """See `ServiceWeights.apply`."""
        return await self._weights.apply(update)

    async def load(self) -> dict[str, Any]:
        """How many episodes are under way (`episodes`), and how many requests lost replicas left unanswered so far, by
        role (`lost`)."""
        return {"episodes": self._service.under_way, "lost": self._service.lost}


def _line(model: ServedModel, served: Served, board: str | None, config: GatewayConfig) -> Line:
    """The policies behind a model. Where this process is one that Serve started again, the board says what the replicas
    hold."""
    held = {policy: board and latest_weights(board, policy, _BOARD_DEADLINE_S) for policy in ("actor", "editor")}
    versions = {policy: update.manifest.version if update else 0 for policy, update in held.items()}
    gate = VersionGate(versions, config.update_deadline_s)
    actor = _role(model.actor, model.actor, served, generate, patient=True)
    return Line(actor, _role(model.editor, model.editor, served, edit), gate, model.versions)


def _role(name: str, application: str, served: Served, call: RowCall, patient: bool = False) -> Role:
    return Role(name, serve.get_app_handle(application), call, served.batching[application], patient, application)


def build_endpoint(served: Served, config: GatewayConfig, token: str, runs: Path) -> Application:
    """The Serve application of the endpoint; see `Endpoint`."""
    return (
        serve.deployment(Endpoint)
        .options(
            name=ENDPOINT,
            num_replicas=1,
            ray_actor_options={"num_cpus": 0},
            max_ongoing_requests=config.max_requests + _OTHER_REQUESTS,  # the app itself refuses what is too much
            graceful_shutdown_timeout_s=5,
            health_check_period_s=5,
            health_check_timeout_s=15,
            max_constructor_retry_count=1,
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )
        .bind(served, config, token, runs)
    )
