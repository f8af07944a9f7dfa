"""Before any role starts: the hub's models come to each node that may read them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from presets.errors import RunFailed
from presets.hub.fetcher import NodeFetcher
from presets.hub.nodes import Share, models_by_node, progress_text
from presets.hub.repository import hub_models
from presets.planning.packing import Node
from presets.settings import HUB_PREFIX

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from rollout.progress import Progress

_ASK_S, _NOTE_S = 2.0, 15.0


def fetch_models(config: RunConfig, progress: Progress) -> None:
    """Let every node of the Ray that this process has joined, or started, fetch the hub's models that its roles read.
    Without such models nothing happens. A node that comes later fetches when a role loads its model there.

    Raises:
        RunFailed: a node could not, or not within `ray.fetch_s`; the message names the node, the model and a remedy.
    """
    if not any(hub_models(config.models.model_dump())):
        return
    import ray

    alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    needs = models_by_node(config, [Node(name, it["Resources"], it["Labels"]) for name, it in alive.items()])
    if not needs:
        return
    with progress.phase("fetch"):
        _Fetch(needs, {name: it["NodeManagerAddress"] for name, it in alive.items()}, progress).run(config.ray.fetch_s)


class _Fetch:
    """The fetchers of all nodes, until each is ready."""

    def __init__(self, needs: Mapping[str, Mapping[str, str]], at: Mapping[str, str], progress: Progress) -> None:
        self._needs, self._at, self._progress = needs, at, progress
        self._shares = dict.fromkeys(needs, Share())
        self._noted, self._noted_at = "", 0.0

    def run(self, deadline_s: float) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        started, kind = {}, ray.remote(num_cpus=0, max_concurrency=2)(NodeFetcher)
        try:
            for node, named in self._needs.items():
                here = NodeAffinitySchedulingStrategy(node, soft=False)
                started[node] = kind.options(scheduling_strategy=here).remote(dict(named))
            pending = {fetcher.bring.remote(): node for node, fetcher in started.items()}
            until = time.monotonic() + deadline_s
            while pending:
                left = until - time.monotonic()
                if left <= 0:
                    raise RunFailed("\n".join(self._late(node, deadline_s) for node in pending.values()))
                done, _ = ray.wait(list(pending), timeout=min(_ASK_S, left))
                for answer in done:
                    self._ended(pending.pop(answer), answer)
                self._look({node: started[node] for node in pending.values()})
        finally:
            for fetcher in started.values():
                ray.kill(fetcher)

    def _ended(self, node: str, answer: Any) -> None:
        import ray
        from ray.exceptions import RayError

        from actors.site import end_of

        try:
            found = ray.get(answer)
        except RayError as error:  # its node is gone, perhaps: Ray starts the roles on others
            self._progress.note(f"fetch: node {self._at[node]}: {end_of(error)}; who reads models there fetches them")
            del self._shares[node]
            return
        if isinstance(found, str):
            raise RunFailed(f"node {self._at[node]}: {found}")
        self._shares[node] = found

    def _look(self, fetchers: Mapping[str, Any]) -> None:
        """Ask those that work how far they are, and say it now and then."""
        import ray
        from ray.exceptions import RayError

        asked = {fetcher.share.remote(): node for node, fetcher in fetchers.items()}
        done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_ASK_S) if asked else ([], [])
        for answer in done:
            try:
                self._shares[asked[answer]] = ray.get(answer)
            except RayError:  # `bring` has ended, too, and says so
                continue
        text = progress_text(self._shares.values())
        if text != self._noted and (not fetchers or time.monotonic() - self._noted_at > _NOTE_S):
            self._progress.note(text)
            self._noted, self._noted_at = text, time.monotonic()

    def _late(self, node: str, deadline_s: float) -> str:
        share = self._shares[node]
        models = ", ".join(f"{HUB_PREFIX}{name}" for name in self._needs[node])
        return (
            f"node {self._at[node]}: {models} did not come within {deadline_s:g} s ({progress_text([share])}). Raise "
            "ray.fetch_s, or run `rlrig fetch` there; what has come stays"
        )
