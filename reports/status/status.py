"""The status of a run: what `rlrig status` shows, and prints with `--json`. Its fields are the keys of the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

State = Literal["running", "finished", "failed", "interrupted", "lost", "unknown"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class LiveRecord(_Part):
    """`progress.json`: what a run says of itself whenever its phase changes. Times are seconds since 1970."""

    run: str
    """Name of the run's folder."""
    state: Literal["running", "finished", "failed", "interrupted"]
    """`running` also where the process was killed before it could say anything else."""
    error: str | None = None
    """Why it failed, in one line."""
    phase: str | None = None
    """What the driver does: start, restore, evaluate, start learner, rollout, learn, sync, checkpoint, export, stop,
    report, push."""
    phase_since: float
    """When that began."""
    at: float
    """When this was written."""
    started: float
    """When the process began its run."""
    done: int = 0
    """Updates so far, those before a resume included."""
    total: int = 0
    """Updates that the run file asks for."""
    seconds_left: float | None = None
    """Estimate for the updates that are left."""
    host: str
    """Where the driver runs."""
    pid: int
    """Its process."""
    pid_started: float
    """When the process began; with `pid` it names the process."""
    logger_failures: dict[str, int] = {}
    """How often a logger of `loggers` failed."""


class Curve(_Part):
    """A measure over the updates; None where an update has none."""

    values: list[float | None] = []
    """One for each update, or for each stretch of updates where there are many."""
    first: float | None = None
    last: float | None = None
    best: float | None = None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Curve:
        """The curve of these values."""
        known = [value for value in values if value is not None]
        if not known:
            return cls()
        return cls(values=list(values), first=known[0], last=known[-1], best=max(known))


class Throughput(_Part):
    """Means over the last ten updates; None before the first, or where the run did not measure it."""

    seconds_per_update: float | None = None
    images_per_second: float | None = None
    """Images that the Diffuser and the Inverse Diffuser made."""
    tokens_per_second: float | None = None
    """Tokens that the Actor wrote."""


class Health(_Part):
    """What went wrong and was mended, or was left out, since the run began."""

    restarts: int = 0
    """EnvRunners that ended and were started again."""
    replaced: int = 0
    """Replicas of the models that were started again."""
    requeued: int = 0
    """Prompts that were sampled anew."""
    rejected: int = 0
    """Members left out for values or images that cannot be."""
    dropped: int = 0
    """Groups left out because their rewards were all equal."""
    unanswered: int = 0
    """Questions that the Checker did not answer with yes or no."""
    logger_failures: int = 0
    """Records that a logger did not take."""


class RunStatus(_Part):
    """One run."""

    run: str
    """Name of its folder."""
    state: State
    """`lost`: it says that it runs, but its process is gone; `unknown`: it does not say (there is no progress.json)."""
    error: str | None = None
    """Why it failed."""
    phase: str | None = None
    """What the driver does; see `LiveRecord`."""
    phase_since: float | None = None
    """When that began, seconds since 1970."""
    at: float | None = None
    """When the run last said something of itself, seconds since 1970."""
    stage: str | None = None
    """The policy that the last update trained."""
    updates: int = 0
    """Updates so far."""
    total_updates: int | None = None
    """Updates that the run file asks for."""
    seconds_left: float | None = None
    """Estimate for the updates that are left, as it was when the run last spoke."""
    reward: Curve = Curve()
    """The Checker's mean reward."""
    truth: Curve = Curve()
    """The same by the exact extractor."""
    throughput: Throughput = Throughput()
    versions: dict[str, int] = {}
    """Of the weights, by policy."""
    staleness_max: float | None = None
    """Greatest age, in updates, of what the last update learned from."""
    staleness_mean: float | None = None
    no_signal_share: float | None = None
    """Share of the groups that were left out, nearly always because all rewards were equal: there is nothing to learn
    from these."""
    health: Health = Health()
    held_out: dict[str, dict[str, float | None]] = {}
    """Evaluations in their order, and the metrics of each."""
    started: float | None = None
    """When its process began the run, seconds since 1970."""
    faults: list[str] = []
    """What is wrong with the files."""

    @property
    def over(self) -> bool:
        """Whether it has ended, as far as it says."""
        return self.state not in ("running", "unknown")
