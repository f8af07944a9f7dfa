"""What a report tells about one run or several, before it is a page, a table or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from measuring.reward_gap import Trend
from reports.before_after.rows import BeforeAfter
from reports.before_after.verdict import Verdict
from reports.gallery import ShownEpisode
from reports.intervals import Bootstrap
from reports.number import INTERVALS, NUMBERS_SCHEMA, Number
from reports.run_record import RunRecord

BOOTSTRAP = Bootstrap(resamples=2000)


@dataclass(frozen=True)
class RunReport:
    """What is told about one run. `starts` are those of the run with what each was made with; `own_reward` is the name
    of the user's reward, empty where it trains on none."""

    record: RunRecord
    verdict: Verdict
    before_after: BeforeAfter | None
    facts: dict[str, str]
    starts: list[tuple[str, dict[str, str]]]
    own_reward: str
    numbers: list[Number]
    trends: list[Trend]
    episodes: list[tuple[str, ShownEpisode]]


@dataclass(frozen=True)
class Report:
    """What is told about all runs: each alone, `comparison` between them, and the settings that differ."""

    runs: list[RunReport]
    comparison: list[Number]
    differing: dict[str, list[str]]

    @property
    def numbers(self) -> list[Number]:
        """Every number that the page shows."""
        return [*(number for run in self.runs for number in run.numbers), *self.comparison]

    def as_json(self) -> dict[str, Any]:
        """Facts, what is missing, texts of the episodes, and all numbers."""
        return {
            "schema_version": int(NUMBERS_SCHEMA.metadata[b"rlrig.version"]),
            "intervals": {**INTERVALS, "resamples": BOOTSTRAP.resamples, "level": BOOTSTRAP.level},
            "runs": [_run_as_json(run) for run in self.runs],
            "differing_settings": self.differing,
            "numbers": [number.as_dict() for number in self.numbers],
        }


def _run_as_json(run: RunReport) -> dict[str, Any]:
    return {
        "name": run.record.name,
        "verdict": run.verdict.text,
        "before_after": run.before_after and run.before_after.as_json(),
        "facts": run.facts,
        "starts": dict(run.starts),
        "own_reward": run.own_reward,
        "missing": run.record.missing,
        "damaged": run.record.damaged,
        "trends": [{"policy": trend.policy, "gamed": trend.gamed, "text": trend.text} for trend in run.trends],
        "configuration": run.record.config,
        "configuration_text": run.record.config_text,
        "episodes": [
            {
                "rank": rank,
                "policy": episode.stage,
                "update": episode.update,
                "requirements": episode.prompt,
                "turns": [
                    {
                        "reflection": turn.reflection,
                        "edit_prompt": turn.edit_prompt,
                        "answer": turn.answer,
                        "kept": turn.kept,
                        "rejected": turn.rejected,
                    }
                    for turn in episode.turns
                ],
            }
            for rank, episode in run.episodes
        ],
    }
