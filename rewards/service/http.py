"""A scorer that is a service: turns are posted to it as JSON, see `rewards.service.wire`."""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from presets.scoring.places import HttpConfig
from rewards.service.wire import request_of, values_in
from rewards.turn import ScoredTurn
from rewards.values import ScorerFailed, Values

if TYPE_CHECKING:
    import httpx2

_MOST_BYTES = 1 << 22  # of an answer
_PASSING = {408, 425, 429}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0


class _Passing(Exception):
    """What may be over at the next try."""


class HttpScorer:
    """Posts turns in batches, several at a time. A request that fails in a way that may pass (no connection, silence
    for `timeout_s`, 408, 425, 429, 5xx) is repeated after a growing pause until `deadline_s`; one that fails costs
    its own turns alone.

    Args:
        name: of the entry, which the service is told.
        deadline_s: seconds for all requests of a call.
        options: are handed on.
    """

    def __init__(self, name: str, config: HttpConfig, deadline_s: float, options: Mapping[str, Any]) -> None:
        self._name, self._config, self._deadline_s, self._options = name, config, deadline_s, dict(options)

    def __call__(self, turns: Sequence[ScoredTurn]) -> list[float]:
        """One value a turn, NaN where there is none.

        Raises:
            ScorerFailed: no request got an answer that can be used.
        """
        import httpx2

        ends, size = time.monotonic() + self._deadline_s, self._config.batch
        parts = [turns[first : first + size] for first in range(0, len(turns), size)]
        # Redirects would take what is sent, and proxies of the environment a loopback request, to other machines.
        with (
            httpx2.Client(
                timeout=self._config.timeout_s, follow_redirects=False, trust_env=not self._config.is_loopback
            ) as client,
            ThreadPoolExecutor(min(self._config.concurrency, max(1, len(parts)))) as pool,
        ):
            answers = list(pool.map(lambda part: self._part(client, part, ends), parts))
        failed = [answer for answer in answers if isinstance(answer, ScorerFailed)]
        if failed and len(failed) == len(answers):
            raise failed[0]
        for error in failed:
            logging.getLogger(__name__).warning("scorer %s: a request failed: %s", self._name, error)
        return [
            float("nan") if value is None else value
            for part, answer in zip(parts, answers, strict=True)
            for value in ([None] * len(part) if isinstance(answer, ScorerFailed) else answer)
        ]

    def _part(self, client: httpx2.Client, turns: Sequence[ScoredTurn], ends: float) -> Values | ScorerFailed:
        body = json.dumps(request_of(self._name, self._options, turns), allow_nan=False).encode()
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return values_in(self._post(client, body, ends), len(turns))
            except ScorerFailed as error:
                return error
            except _Passing as error:
                wait_s = pause * random.uniform(0.5, 1.0)
                if time.monotonic() + wait_s >= ends:
                    return ScorerFailed(f"{error}; given up at the deadline of {self._deadline_s:g} s")
                time.sleep(wait_s)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _post(self, client: httpx2.Client, body: bytes, ends: float) -> bytes:
        """The body of a 200.

        Raises:
            ScorerFailed, _Passing: there is none.
        """
        import httpx2

        token = os.environ.get(self._config.token_env, "").strip() if self._config.token_env else ""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            with client.stream("POST", self._config.url, content=body, headers=headers) as answer:
                if answer.status_code in _PASSING or answer.status_code >= 500:
                    raise _Passing(f"{self._config.url} answered {answer.status_code}")
                if answer.status_code != 200:
                    raise ScorerFailed(f"{self._config.url} answered {answer.status_code}")
                found = bytearray()
                for piece in answer.iter_bytes():
                    found += piece
                    if len(found) > _MOST_BYTES:
                        raise ScorerFailed(f"{self._config.url} answered with more than {_MOST_BYTES} bytes")
                    if time.monotonic() > ends:
                        raise _Passing(f"{self._config.url} answers too slowly")
                return bytes(found)
        except httpx2.HTTPError as error:
            raise _Passing(f"{self._config.url}: {type(error).__name__}: {error}") from error
