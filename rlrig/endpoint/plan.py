"""What `rlrig serve` serves, and whether that can be in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from presets.choice.fit import why_on_ray
from presets.choice.trained_models import UNTRAINED, Models, chosen_models, trained_models
from presets.errors import BadInput
from presets.places import TINY, preset_at
from presets.run_file import load_config, load_run_config
from studio.episodes.follow import last_versions

if TYPE_CHECKING:
    from presets.run_config import RunConfig
    from studio.config import GatewayConfig


@dataclass(frozen=True)
class ServingPlan:
    """What an endpoint serves.

    Attributes:
        config: the models behind `rlrig`, replicas and all else that a run file says.
        raw: those behind `rlrig-raw`, where there is one.
        versions: what the weights on disk of `rlrig` are called, by policy.
        follow: the folder of a run, whose configuration `config` is, and whose newest weights are put in.
        runs: the folder whose runs the pages show.
    """

    config: RunConfig
    raw: RunConfig | None
    versions: dict[str, int]
    follow: Path | None
    runs: Path = Path("runs")

    def why_on_ray(self, gateway: GatewayConfig) -> str | None:
        """The first thing that needs Ray, by its key or option; None where all can be in one process."""
        return next(self._reasons(gateway), None)

    def _reasons(self, gateway: GatewayConfig) -> Iterator[str]:
        if self.follow is not None:
            yield "--follow puts new weights into replicas"
        for key in ("max_image_replicas", "max_vlm_replicas"):
            if getattr(gateway, key) is not None:
                yield f"gateway.{key} is set"
        for config in (self.config, self.raw):
            if config is not None and (reason := why_on_ray(config)):
                yield reason


def serving_plan(
    source: Path | None, follow: Path | None, compare: bool, overrides: list[str], models: Models | None = None
) -> ServingPlan:
    """What to serve: the preset's models, those that a run has trained, or the newest of a run that is followed, which
    starts with the models that the run started from.

    Args:
        models: trained or raw ones; None takes trained ones where there are some.

    Raises:
        BadInput: a folder that is no run's, a run or a preset that has trained nothing, or one to serve and another to
            follow.
    """
    run = source if source is not None and source.is_dir() else None
    if follow is not None:
        if source is not None and source.resolve() != follow.resolve():
            raise BadInput(f"--follow {follow}: what is served follows from the run; leave {source} out")
        if models is not None:
            raise BadInput(f"--models {models}: what is served follows from the run {follow}; leave it out")
        config = load_run_config(follow, overrides, "--follow", data=False)
        return ServingPlan(config, config if compare else None, dict(UNTRAINED), follow)
    if run is None:
        preset = preset_at(source or TINY)
        config = load_config(preset, overrides, data=False)
        found, versions = chosen_models(config, preset, models)
        return ServingPlan(found, config if compare else None, versions, None)
    config = load_run_config(run, overrides, "RUN", data=False)
    raw = config if compare else None
    if models == "raw":
        return ServingPlan(config, raw, dict(UNTRAINED), None)
    return ServingPlan(trained_models(config, run), raw, last_versions(run), None)
