"""What fetches the hub's models on one node."""

from __future__ import annotations

from collections.abc import Mapping

from presets.errors import BadInput, RunFailed
from presets.hub.nodes import Share
from presets.hub.repository import brought, check_cached, held_bytes, missing_bytes, refuse_without_room, wanted


class NodeFetcher:
    """What fetches on one node, into its own cache; it answers how far it is meanwhile.

    Args:
        named: the key of the run file that names a model, by the model's name.
    """

    def __init__(self, named: Mapping[str, str]) -> None:
        self._named, self._ready = named, False
        self._nbytes: int | None = None
        self._there = self._before = 0

    def bring(self) -> Share | str:
        """Fetch what is missing; where this node is off-line, only look. What it has, or what is wrong and what to do
        about it."""
        from huggingface_hub import constants
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
        try:
            if constants.HF_HUB_OFFLINE:
                for name, key in self._named.items():
                    check_cached(key, name)
                self._nbytes = sum(map(held_bytes, self._named))
            else:
                self._fetch()
        except (BadInput, RunFailed) as error:
            return str(error)
        self._ready = True
        return self.share()

    def _fetch(self) -> None:
        models = [wanted(key, name) for name, key in self._named.items()]
        missing = sum(map(missing_bytes, models))
        refuse_without_room(missing)
        whole = sum(one.nbytes for one in models)
        self._there, self._before = whole - missing, sum(map(held_bytes, self._named))
        self._nbytes = whole
        for one in models:
            brought(one)

    def share(self) -> Share:
        """How far it is."""
        if self._nbytes is None or self._ready:
            return Share(self._nbytes or 0, self._nbytes, self._ready)
        come = max(0, sum(map(held_bytes, self._named)) - self._before)
        return Share(min(self._nbytes, self._there + come), self._nbytes)
