"""The metrics that a run exports through Ray: names, kinds, units and tags. Imports nothing but the standard library.

Ray's metrics agent puts `ray_` before each name. The exporter declares its series from this list, and the panels of
`deploy/grafana/rlrig.json` may use no other `ray_rlrig_` series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RAY_PREFIX = "ray_"
RUN_TAG = "run"
"""Every metric carries it: the name of the run's folder."""


@dataclass(frozen=True)
class Metric:
    """One time series, or one for each combination of its tags' values."""

    name: str
    """As `ray.util.metrics` is given it; Prometheus sees `series`."""
    kind: Literal["gauge", "counter"]
    """A gauge holds the last value that was set; a counter only grows, and starts again at 0 with its process."""
    unit: str
    """`1` where it is a number of things or a fraction."""
    description: str
    """One sentence, which Prometheus and Grafana show."""
    tags: tuple[str, ...] = (RUN_TAG,)
    """Tag keys, `run` first."""

    @property
    def series(self) -> str:
        """The name in Prometheus."""
        return RAY_PREFIX + self.name


def _gauge(name: str, unit: str, description: str, *tags: str) -> Metric:
    return Metric(name, "gauge", unit, description, (RUN_TAG, *tags))


def _counter(name: str, unit: str, description: str) -> Metric:
    return Metric(name, "counter", unit, description)


METRICS: tuple[Metric, ...] = (
    _gauge("rlrig_update", "1", "Number of the last finished update."),
    _gauge("rlrig_reward_mean", "1", "Mean reward of the last update's members, as the Checker sees them."),
    _gauge("rlrig_truth_mean", "1", "Mean fraction of requirements met in the same images by what measures the truth."),
    _gauge("rlrig_advantage_spread", "1", "Mean standard deviation of the rewards within the last update's groups."),
    _gauge("rlrig_staleness_max", "updates", "Greatest age of what the last update learned from."),
    _gauge("rlrig_backlog_prompts", "prompts", "Prompts that wait to be sampled."),
    _gauge("rlrig_prompts_in_flight", "prompts", "Prompts that are being sampled."),
    _gauge("rlrig_workers", "1", "Workers of a role that take calls, or replicas of a VLM.", "role"),
    _gauge("rlrig_workers_wanted", "1", "Workers that a role should have for the prompts that there are.", "role"),
    _gauge("rlrig_phase", "1", "1 for the phase that a role is in, 0 for its other phases.", "role", "phase"),
    _gauge("rlrig_phase_seconds", "s", "Seconds that the last update spent in a phase.", "phase"),
    _gauge(
        "rlrig_logprob_mismatch_max",
        "nat",
        "Greatest difference between rollout's and learner's log-probability of the same sample in the last update.",
    ),
    _gauge("rlrig_sync_seconds", "s", "Seconds from publishing the last weights until every replica had proven them."),
    _gauge("rlrig_actor_version", "1", "Version of the Actor's weights that its replicas serve."),
    _gauge("rlrig_editor_version", "1", "Version of the Inverse Diffuser's weights that its workers use."),
    _gauge(
        "rlrig_gpu_memory_bytes", "B", "Most GPU memory that a process of a role held during the last update.", "role"
    ),
    _counter("rlrig_groups_total", "groups", "Groups that updates learned from."),
    _counter("rlrig_groups_dropped_total", "groups", "Groups left out because their rewards were all equal."),
    _counter("rlrig_restarts_total", "1", "Workers and replicas that were started again after they died or hung."),
    _counter("rlrig_rejected_samples_total", "samples", "Members left out for values or images that cannot be."),
    _counter("rlrig_answer_tokens_total", "tokens", "Tokens that the Actor wrote while sampling."),
    _counter("rlrig_images_total", "images", "Images that the Diffuser and the Inverse Diffuser made."),
)
