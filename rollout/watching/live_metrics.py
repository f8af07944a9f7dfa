"""A run's numbers while it runs, as `ray.util.metrics`: what Ray's dashboard and Prometheus show (`metric_names`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge

from rollout.watching.metric_names import METRICS, RUN_TAG

# Driver's phase → what each other role does meanwhile; in a phase that is not here it waits.
_MEANWHILE = {
    "learn": {"learner": "update"},
    "sync": {"learner": "gather", "editor": "load", "actor": "load"},
}
_ROLES = ("learner", "editor", "actor")
WAITS = "wait"


class LiveMetrics:
    """The metrics of one run. Without a metrics agent (a Ray without dashboard) what is set here goes nowhere.

    Args:
        run: value of the tag that every metric carries.
    """

    def __init__(self, run: str) -> None:
        kinds = {"gauge": Gauge, "counter": Counter}
        self._series = {m.name: kinds[m.kind](m.name, description=m.description, tag_keys=m.tags) for m in METRICS}
        for series in self._series.values():
            series.set_default_tags({RUN_TAG: run})
        self._phases: dict[str, str] = {}
        self._so_far: dict[str, float] = {}

    def phase(self, name: str | None) -> None:
        """The driver is in this phase now; None between phases."""
        self._role("driver", name or WAITS)
        for role in _ROLES:
            self._role(role, _MEANWHILE.get(name or "", {}).get(role, WAITS))

    def prompts(self, waiting: int, in_flight: int) -> None:
        """How many prompts wait to be sampled, and how many are being sampled."""
        self._set("rlrig_backlog_prompts", waiting)
        self._set("rlrig_prompts_in_flight", in_flight)
        self._role("env_runner", "sample" if in_flight else WAITS)

    def workers(self, there: Mapping[str, int | None], wanted: Mapping[str, int]) -> None:
        """How many workers each role has, and how many it should have; None where that is not known."""
        for name, numbers in (("rlrig_workers", there), ("rlrig_workers_wanted", wanted)):
            for role, number in numbers.items():
                if number is not None:
                    self._series[name].set(float(number), {"role": role})

    def update(self, record: Mapping[str, Any]) -> None:
        """An update is complete; see `update_record`. A value that it does not have, or has as None, is left out."""
        for name, value in {
            "rlrig_update": record["update"],
            "rlrig_reward_mean": record["reward_mean"],
            "rlrig_truth_mean": record.get("truth_mean"),
            "rlrig_advantage_spread": record["reward_std"],
            "rlrig_staleness_max": record["staleness"]["max"],
            "rlrig_logprob_mismatch_max": record["logprob_mismatch"],
            "rlrig_sync_seconds": record["seconds"]["sync"],
            "rlrig_actor_version": record["actor_version"],
            "rlrig_editor_version": record["editor_version"],
        }.items():
            if value is not None:
                self._set(name, value)
        for phase, seconds in record["seconds"].items():
            self._series["rlrig_phase_seconds"].set(seconds, {"phase": phase})
        for role, size in record["gpu_bytes"].items():
            self._series["rlrig_gpu_memory_bytes"].set(size, {"role": role})
        self.workers(record["workers"], {})
        self._count("rlrig_groups_total", record["groups"])
        self._count("rlrig_groups_dropped_total", record["groups_dropped"])
        self._count("rlrig_rejected_samples_total", sum(record["rejected"].values()))
        self._count("rlrig_answer_tokens_total", record["answer_tokens"])
        self._count("rlrig_images_total", record["images"])
        self._count_up_to("rlrig_restarts_total", record["restarts"] + record["replaced"])

    def _set(self, name: str, value: float) -> None:
        self._series[name].set(float(value))

    def _count(self, name: str, more: float) -> None:
        if more > 0:  # Ray refuses 0
            self._series[name].inc(float(more))

    def _count_up_to(self, name: str, total: float) -> None:
        self._count(name, total - self._so_far.get(name, 0.0))
        self._so_far[name] = total

    def _role(self, role: str, phase: str) -> None:
        before = self._phases.get(role)
        if before == phase:
            return
        gauge = self._series["rlrig_phase"]
        if before is not None:
            gauge.set(0.0, {"role": role, "phase": before})
        gauge.set(1.0, {"role": role, "phase": phase})
        self._phases[role] = phase
