"""How many workers each role should have for the prompts that wait and are in flight. Pure.

`Range.wanted` is what the backlog asks for at a moment; `Sizing` follows it upwards at once, downwards after a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from presets.run_config import RunConfig


@dataclass(frozen=True)
class Range:
    """How the workers of a role follow the backlog.

    Attributes:
        least, most: workers; equal for a fixed fleet.
        rows_per_prompt: what a prompt gives the role to do at a time, in rows: an image, or a prompt.
        rows_per_worker: rows that wait or are being worked on for each worker.

    Raises:
        ValueError: a number out of its range.
    """

    least: int
    most: int
    rows_per_prompt: int
    rows_per_worker: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"least is {self.least} and most is {self.most}: needs 1 <= least <= most")
        for name in ("rows_per_prompt", "rows_per_worker"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")

    @property
    def elastic(self) -> bool:
        """Whether there is a choice."""
        return self.least < self.most

    def wanted(self, prompts: int) -> int:
        """Workers for this many prompts that wait or are in flight."""
        rows = max(0, prompts) * self.rows_per_prompt
        return min(self.most, max(self.least, -(-rows // self.rows_per_worker)))


class Sizing:
    """The size of one role over time: it grows as soon as more is wanted. It shrinks when never as much was wanted for
    `idle_s` seconds, to the most that was wanted in that time.

    Args:
        least: workers to begin with.
        idle_s: seconds of lower demand before it shrinks.

    Raises:
        ValueError: `idle_s` is below 0.
    """

    def __init__(self, least: int, idle_s: float) -> None:
        if not idle_s >= 0:
            raise ValueError(f"idle_s is {idle_s}; give the seconds, 0 or more, of lower demand before it shrinks")
        self.size, self._idle_s = least, idle_s
        self._low_since: float | None = None
        self._most_since = 0  # the most that was wanted since then

    def follow(self, wanted: int, now: float) -> int:
        """The size, now that `wanted` workers are asked for. `now` is in seconds of a clock that never goes back."""
        if wanted >= self.size:
            self.size, self._low_since = wanted, None
            return self.size
        if self._low_since is None:
            self._low_since, self._most_since = now, wanted
        self._most_since = max(self._most_since, wanted)
        if now - self._low_since >= self._idle_s:
            self.size, self._low_since = self._most_since, None
        return self.size


def ranges(config: RunConfig) -> dict[str, Range]:
    """The three roles whose workers follow the backlog, where the configuration says so."""
    elastic, rollout = config.elastic, config.rollout
    return {
        "diffuser": Range(config.diffuser.workers, config.diffuser.most_workers, 1, elastic.images_per_worker),
        "editor": Range(
            config.editor.workers, config.editor.most_workers, rollout.group_size, elastic.images_per_worker
        ),
        "env_runner": Range(rollout.env_runners, rollout.most_env_runners, 1, elastic.prompts_per_env_runner),
    }
