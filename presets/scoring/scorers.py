"""One entry of `rewards`: what scores turns, how much it counts, for which policy, and where it runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from presets.scoring.places import FleetConfig, HttpConfig
from scenes.entry_point import is_entry_point
from scenes.section import OrOwn, Section
from serving.endpoint.config import EndpointConfig

SHIPPED = (
    *("checker", "kept_requirements", "preservation", "sharpness", "artifact", "length", "detector", "vlm_judge"),
    "http",
)
Policy = Literal["actor", "editor"]


class ScorerConfig(Section):
    """One scorer of a run, see docs/extending/reward.md. It runs in the EnvRunners, unless `fleet`, `http` or
    `endpoint` says more."""

    scorer: Annotated[str, OrOwn(SHIPPED)] = "checker"
    """What gives the values: `checker`, what `rollout.reward` makes of the Checker's answers; `kept_requirements`, what
    held before still holds; `preservation`, what the edit is not about stays; `sharpness` and `artifact`, the edit
    neither blurs nor adds noise; `length`, no overlong answers; `detector`, the requirements that an open-vocabulary
    detector finds to hold; `vlm_judge`, a VLM behind `endpoint`; `http`, the service at `http.url`; or a function or
    class of yours, `module:name`."""
    name: str | None = Field(None, pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")
    """What metrics and pages call it; null: as the scorer, or the name after the colon of `module:name`."""
    weight: float = 1.0
    """Factor of its part of the reward. At 0 it is recorded and changes nothing."""
    normalise: Literal["none", "group", "running"] = "none"
    """What becomes of a value before it is weighted: nothing; less the mean of the members of its group, over their
    standard deviation; or the same with the mean and deviation of the updates so far."""
    apply_to: Literal["both", "actor", "editor"] = "both"
    """The policy whose training it counts for."""
    required: bool = True
    """Whether a member without its value is rejected. Otherwise the member's group goes on without it."""
    deadline_s: float = Field(60.0, gt=0)
    """Seconds that its values of one batch may take, repeated calls included; then the samples go without."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the scorer by name, see docs/extending/reward.md."""
    fleet: FleetConfig | None = None
    """Run it as Ray actors, with CPUs or a part of a GPU. Not for `checker`, `vlm_judge` and `http`."""
    http: HttpConfig | None = None
    """The service that `http` asks."""
    endpoint: EndpointConfig | None = None
    """The VLM that `vlm_judge` asks."""

    @property
    def title(self) -> str:
        """The name in metrics."""
        return self.name or self.scorer.rpartition(":")[2]

    @property
    def waits(self) -> bool:
        """Whether its values may take long: it is another process, a detector, or code of the user's own."""
        detects = self.scorer == "detector" or isinstance(self.options.get("boxes"), dict)
        return any((self.fleet, self.http, self.endpoint)) or detects or is_entry_point(self.scorer)

    def counts_for(self, policy: str) -> bool:
        """Whether it takes part while this policy trains."""
        return self.apply_to in ("both", policy)

    @model_validator(mode="after")
    def _runs_somewhere(self) -> ScorerConfig:
        for key, scorer in (("http", "http"), ("endpoint", "vlm_judge")):
            given = getattr(self, key) is not None
            if given != (self.scorer == scorer):
                told = f"is needed by scorer {scorer!r}" if not given else f"is refused with scorer {self.scorer!r}"
                raise ValueError(f"{key} {told}: {scorer!r} and no other scorer asks it")
        if self.fleet is not None and self.scorer in ("checker", "vlm_judge", "http"):
            raise ValueError(f"fleet is refused with scorer {self.scorer!r}, which computes nothing. Leave it out")
        return self
