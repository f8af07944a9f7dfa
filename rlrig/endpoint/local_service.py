"""The endpoint's episodes on models in this process, each of which can be asked as soon as it has loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from rlrig.local.models import TITLES, load_role, roles_to_load, shared_checker
from serving.batch_queue import Batching
from serving.local.handle import HandledVlm, LocalHandle, LocalVlmReplica
from serving.own_checker import new_checker
from studio.episodes.episode_service import EpisodeService, Line
from studio.episodes.role import Role
from studio.episodes.row_calls import RowCall, answer_each, draw, edit, generate
from studio.episodes.service import RAW_MODEL, TRAINED_MODEL, ServiceUnavailable
from studio.episodes.version_gate import VersionGate

if TYPE_CHECKING:
    import numpy as np

    from presets.run_config import RunConfig
    from studio.config import GatewayConfig

_RAW = "-raw"
_RETRY_AFTER_S = 5.0
_CALLS: dict[str, RowCall] = {"diffuser": draw, "editor": edit, "actor": generate, "checker": generate}


class LocalService:
    """An `EpisodeService` over `LocalHandle`s, and what loads the models behind them.

    Args:
        config: the models behind `rlrig`.
        raw: those behind `rlrig-raw`, where there is one; its Diffuser and its Checker are not asked.
        versions: what the weights on disk of `rlrig` are called, by policy.

    Attributes:
        episodes: the service.
    """

    def __init__(
        self, config: RunConfig, gateway: GatewayConfig, raw: RunConfig | None, versions: Mapping[str, int]
    ) -> None:
        self._config, self._raw, self._gateway, self._versions = config, raw, gateway, dict(versions)
        names = ["diffuser", "checker", "actor", "editor", *(["actor" + _RAW, "editor" + _RAW] if raw else [])]
        self._handles = {name: LocalHandle(partial(_absent, name)) for name in names}
        self._state = dict.fromkeys(names, "it waits to be loaded")
        adapted = {policy: self._adapter_version(policy) for policy in ("actor", "editor")}
        lines = {TRAINED_MODEL: self._line("", adapted, self._versions)}
        if raw:
            lines[RAW_MODEL] = self._line(_RAW, dict.fromkeys(adapted, 0), dict.fromkeys(adapted, 0))
        vlm, rollout = HandledVlm(self._handles["checker"], "checker", config.vlm.checker), config.rollout
        self.episodes = EpisodeService(
            self._role("diffuser"),
            self._role("checker"),
            lines,
            image_size=config.diffuser.size,
            max_tokens=config.vlm.actor.max_tokens,
            checks=new_checker(rollout.checker, vlm, config.dialogue, rollout.least_mass),
            dialogue=config.dialogue,
            drawings=rollout.drawings,
            call_deadline_s=config.vlm.actor.call_deadline_s,
            turn_deadline_s=gateway.turn_deadline_s,
            status=lambda roles: {role: self._state[role] for role in roles},
        )

    def _adapter_version(self, policy: str) -> int:
        """What replicas call what they hold; 0 where that is the weights on disk alone."""
        return (self._versions.get(policy) or 1) if policy in self._config.models.adapters else 0

    def _line(self, suffix: str, held: Mapping[str, int], on_disk: Mapping[str, int]) -> Line:
        gate = VersionGate(held, self._gateway.update_deadline_s)
        return Line(self._role("actor" + suffix), self._role("editor" + suffix), gate, on_disk)

    def _role(self, name: str) -> Role:
        call = _CALLS[name.removesuffix(_RAW)]
        batching = Batching(self._gateway.max_batch, self._gateway.batch_wait_s)
        return Role(name, self._handles[name], call, batching, patient=call is generate)

    def load(self, say: Callable[[str], None]) -> None:
        """Load the models one after the other. `say` hears of each before it is loaded.

        Raises:
            ModelLoadError, VlmError: a model folder is damaged.
            WeightMismatch: an adapter belongs to other weights.
        """
        own = roles_to_load(self._config)
        steps = [(self._config, role, "") for role in own]
        steps += [(self._raw, role, _RAW) for role in ("editor", "actor") if self._raw]
        for number, (config, role, suffix) in enumerate(steps, 1):
            now = f"loading, {number} of {len(steps)}"
            say(f"{now}: {TITLES[role]}{', untrained' if suffix else ''}")
            self._state[role + suffix] = now
            model = load_role(config, role, 0 if suffix else self._adapter_version(role))
            thread = _new_thread(role + suffix)
            self._put(role + suffix, model, thread)
            if role == "editor" and not suffix and "diffuser" not in own:
                self._put("diffuser", model, thread)
            if role == "actor" and not suffix and "checker" not in own:
                self._put("checker", shared_checker(config, model), thread)

    def _put(self, name: str, model: Any, thread: ThreadPoolExecutor) -> None:
        is_vlm = _CALLS[name.removesuffix(_RAW)] is generate
        self._handles[name].put(LocalVlmReplica(model) if is_vlm else _LocalImages(model), thread)
        self._state[name] = ""


class _LocalImages:
    """A Diffuser or an Inverse Diffuser with the methods of a `DrawReplica` and an `EditReplica`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Any]:
        """See `DrawReplica.draw`."""
        return answer_each(self._model.draw, (prompts, seeds))

    def edit(self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int]) -> list[Any]:
        """See `EditReplica.edit`."""
        edits = answer_each(self._model.edit, (images, prompts, seeds))
        return [edit if isinstance(edit, Exception) else (edit.image, edit.version) for edit in edits]


def _absent(name: str) -> Exception:
    return ServiceUnavailable(f"the {name} is still loading; ask again", _RETRY_AFTER_S)


def _new_thread(name: str) -> ThreadPoolExecutor:
    """A thread for one model. torch's own threads are counted anew on each; four models share few cores."""
    import torch

    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=torch.set_num_threads, initargs=(1,))
