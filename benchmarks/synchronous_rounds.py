"""The synchronous schedule on the simulated fleet: rounds of prompts in equal parts, then the update."""

from __future__ import annotations

from benchmarks.simulated_fleet import Draws, Measurement, Setting

MAX_ROUNDS = 3  # the update then trains on the groups that there are


class SynchronousRounds:
    """Every worker gets its part of a round as one job; no worker has anything to do until the slowest is done.

    Groups without a signal, and those of a worker that died or was late, are replaced in the next round. A job may take
    as long for each group as `Setting.deadline_s` allows the groups that share a worker's slots.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting, self.draws = setting, Draws(setting)
        self._now = self._edited_s = self._wasted_s = 0.0
        self._dies_at = [self.draws.life() for _ in range(setting.workers)]
        self._back_at = [0.0] * setting.workers

    def run(self) -> Measurement:
        """Simulate the updates of the setting; the first is like the others, so there is no warm-up."""
        setting, trained = self.setting, 0
        for _ in range(setting.updates):
            kept = 0
            for _ in range(MAX_ROUNDS):
                kept += self._round(setting.batch - kept)
                if kept == setting.batch:
                    break
            trained += kept
            self._now += setting.update_s + setting.sync_s
        editors = self._now * setting.workers
        return Measurement(trained / self._now, self._edited_s / editors, self._wasted_s / editors, 0, 0.0)

    def _round(self, prompts: int) -> int:
        """Groups with a signal that one round of this many prompts gives."""
        self._now = max(self._now, min(self._back_at))
        there = [worker for worker, back_at in enumerate(self._back_at) if back_at <= self._now]
        kept, ends = 0, []
        for place, worker in enumerate(there[:prompts]):
            groups = len(range(place, prompts, len(there)))
            end, complete = self._job(worker, groups)
            ends.append(end)
            kept += sum(not self.draws.dropped() for _ in range(groups)) if complete else 0
        self._now = max(ends)
        return kept

    def _job(self, worker: int, groups: int) -> tuple[float, bool]:
        """When the driver hears of a worker's part of a round, and whether it is complete."""
        setting, draws = self.setting, self.draws
        edits = sum(draws.edits() for _ in range(groups * setting.turns))
        done = self._now + edits + sum(draws.answer() + draws.check() for _ in range(setting.turns))
        late = self._now + setting.deadline_s * max(1.0, groups / setting.slots)
        died = max(self._now, self._dies_at[worker])
        if done <= min(late, died):
            self._edited_s += edits
            return done, True
        wasted = min(edits, min(late, died) - self._now)
        self._edited_s += wasted
        self._wasted_s += wasted
        heard = min(late, died + setting.detection_s)
        self._back_at[worker] = heard + setting.restart_s
        self._dies_at[worker] = self._back_at[worker] + draws.life()
        return heard, False
