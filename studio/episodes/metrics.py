"""What the endpoint counts, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from rewards.satisfaction import HOLDS
from studio.episodes.service import Finished, ModelInfo

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class GatewayMetrics:
    """The counters of one app; each app has its own, so that several may live in one process."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self._requests = Counter(
            "rlrig_http_requests", "Requests answered.", ["method", "route", "status"], registry=own
        )
        self._seconds = Histogram(
            "rlrig_http_request_seconds", "Seconds to answer a request.", ["route"], buckets=_SECONDS, registry=own
        )
        self._under_way = Gauge("rlrig_http_requests_under_way", "Requests under way.", registry=own)
        self._images = Counter(
            "rlrig_images",
            "Episodes by how they ended: done, unavailable, timeout, failed, cancelled.",
            ["model", "outcome"],
            registry=own,
        )
        self._turns = Counter("rlrig_turns", "Edits of finished episodes.", ["model"], registry=own)
        self._requirements = Counter(
            "rlrig_requirements",
            "Requirements of finished episodes, and whether they hold.",
            ["model", "holds"],
            registry=own,
        )
        self._phases = Histogram(
            "rlrig_phase_seconds", "Seconds of an episode by phase.", ["phase"], buckets=_SECONDS, registry=own
        )
        self._versions = Gauge("rlrig_policy_version", "Version of each policy.", ["model", "policy"], registry=own)

    def begin(self) -> None:
        """A request has come."""
        self._under_way.inc()

    def end(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered; 499 is the status of one whose client has gone."""
        self._under_way.dec()
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def finished(self, model: str, end: Finished) -> None:
        """An episode has come to its end."""
        self.ended(model, "done")
        self._turns.labels(model).inc(len(end.episode.frames) - 1)
        for probability in end.episode.answer.satisfaction:
            self._requirements.labels(model, str(probability >= HOLDS).lower()).inc()
        for phase, seconds in end.seconds.items():
            self._phases.labels(phase).observe(seconds)

    def ended(self, model: str, outcome: str) -> None:
        """An episode has ended: done, unavailable, timeout, failed or cancelled."""
        self._images.labels(model, outcome).inc()

    def text(self, models: Iterable[ModelInfo]) -> bytes:
        """All of it, with the versions that these models have now."""
        for model in models:
            for policy, version in model.versions.items():
                self._versions.labels(model.id, policy).set(version)
        return generate_latest(self._registry)
