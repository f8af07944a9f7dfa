"""The models of an episode for as long as they are needed: in this process, or on Ray and vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rlrig.cluster.model_fetch import fetch_models
from rollout.local_ray import ray_for_run

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from rollout.episode import Players
    from rollout.progress import Progress


@contextmanager
def players(config: RunConfig, on_ray: bool, progress: Progress) -> Iterator[Players]:
    """The four models, ready to be asked, until the block is left.

    Raises:
        ModelLoadError, VlmError, WeightMismatch: as `rlrig.local.models.load_models`.
        BadInput: as `rollout.local_ray.start_ray`.
        RunFailed: as `rlrig.cluster.model_fetch.fetch_models`.
    """
    if not on_ray:
        from rlrig.local.models import load_models

        with progress.phase("start"):
            models = load_models(config, progress)
        yield models
        return
    from rollout.models import start_models

    with ray_for_run(config.ray):
        fetch_models(config, progress)
        with progress.phase("start"):
            started = start_models(config, progress)
        try:
            yield started
        finally:
            started.close(keep_serve=config.ray.address is None)
