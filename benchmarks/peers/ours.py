"""This system's updates, with the proof of weights, deadlines and trajectories on disk that every run has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers.comparison import PHASES
from presets.run_config import RunConfig
from rlrig.run_folder import RunFolder
from rlrig.training import build
from rollout.local_ray import ray_for_run
from rollout.progress import Progress

_NAMES = {"generation": "reflect", "learning": "learn"}  # where metrics have another one


class Ours:
    """A run on Ray, one update at a time."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self._config, self._folder, self._opened = config, RunFolder(folder), ExitStack()
        self._folder.begin(config, 0, time.time())
        try:
            self._opened.enter_context(ray_for_run(config.ray, config.gpu_learner))
            self._algorithm = build(config, self._folder, Progress())
            self._opened.callback(self._algorithm.stop)
        except BaseException:
            self._opened.close()
            raise

    def update(self) -> dict[str, float]:
        """Seconds by phase, as the metrics of the run have them, and of the whole `update`, its files written."""
        began = time.perf_counter()
        self._algorithm.train()
        stream, done = self._algorithm.stream, self._algorithm.updates
        stream.draws_ahead = False
        while stream.in_flight_before(stream.jobs):  # what is drawn ahead is work of this side, too
            stream.pump(self._algorithm.stage, done, 0.05)
        found = self._algorithm.last_update
        self._folder.add_update(found, self._algorithm.last_turns, self._config.keep)
        seconds = {phase: found["seconds"].get(_NAMES.get(phase, phase), 0.0) for phase in PHASES}
        return {**seconds, "update": time.perf_counter() - began}

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> dict[str, float]:
        """Seconds of a `draw` by the Diffuser's workers."""
        began = time.perf_counter()
        self._algorithm.models.diffuser.draw(prompts, seeds)
        return {"draw": time.perf_counter() - began}

    def close(self) -> None:
        """End the models and Ray."""
        self._opened.close()
