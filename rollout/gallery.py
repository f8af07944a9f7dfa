"""Episodes of a run's trajectories, put back together for people to look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rollout.trajectory import SCHEMA, check_schema
from scenes.png import data_uri

_NOT_SHOWN = ("token_ids", "token_log_probs", "flow", "scene_graph", "request")
_COLUMNS = [name for name in SCHEMA.names if name not in _NOT_SHOWN]
Row = dict[str, Any]


@dataclass(frozen=True)
class Chip:
    """One requirement and the Checker's yes-probability of it."""

    text: str
    probability: float

    @property
    def holds(self) -> bool:
        return self.probability >= 0.5


@dataclass(frozen=True)
class ShownTurn:
    """One turn of the member that went on, or of the best one where none did, and the images and rewards of its whole
    group, the best first. An image that was not `kept` is not what the next turn starts from."""

    reflection: str | None
    edit_prompt: str | None
    answer: str
    image: str | None
    chips: list[Chip]
    reward: float
    kept: bool
    members: list[tuple[str | None, float]]


@dataclass(frozen=True)
class ShownEpisode:
    """An episode: the first image, then its turns. Images are data URIs."""

    stage: str
    update: int
    prompt: str
    image: str
    chips: list[Chip]
    reward_before: float
    turns: list[ShownTurn]

    @property
    def gain(self) -> float:
        kept = [turn.reward for turn in self.turns if turn.kept]
        return kept[-1] - self.reward_before if kept else 0.0


def _picture(png: bytes | None) -> str | None:
    """PNG bytes as a data URI; None where an answer could not be parsed, so that there is no image."""
    return None if png is None else data_uri(png)


def read_rows(folder: Path) -> list[Row]:
    """The rows of a folder of Parquet files, without tokens and flow.

    Raises:
        ValueError: a file of another schema or version.
    """
    rows: list[Row] = []
    for file in sorted(folder.glob("*.parquet")):
        try:
            check_schema(pq.read_schema(file))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        rows += pq.read_table(file, columns=_COLUMNS).to_pylist()
    return rows


def _best(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda row: (row["carried_on"], row["reward"]))


def _chips(row: Row, which: str) -> list[Chip]:
    return [Chip(*pair) for pair in zip(row["requirements"], row[f"satisfaction_{which}"], strict=False)]


def episodes(rows: Sequence[Row]) -> list[ShownEpisode]:
    """One episode for each prompt of each update: from turn to turn, the member whose image went on."""
    starts: dict[tuple[str, int, str], list[Row]] = defaultdict(list)
    for row in rows:
        starts[row["stage"], row["update"], row["prompt_id"]].append(row)
    found = []
    for (stage, update, _), members in starts.items():
        chain: list[ShownTurn] = []
        first: Row | None = None
        turn = 0
        here = [row for row in members if row["turn"] == turn]
        here = [row for row in here if row["group"] == here[0]["group"]]
        while here:
            chosen = _best(here)
            first = first or chosen
            chain.append(_shown(chosen, here))
            turn += 1
            image = chosen["image_after"] if chosen["carried_on"] else chosen["image_before"]
            here = [row for row in members if row["turn"] == turn and row["image_before"] == image]
        if first is not None:
            prompt = "; ".join(first["requirements"])
            image = _picture(first["image_before"]) or ""
            before = _chips(first, "before")
            found.append(ShownEpisode(stage, update, prompt, image, before, first["reward_before"], chain))
    return found


def _shown(row: Row, group: Sequence[Row]) -> ShownTurn:
    ranked = sorted(group, key=lambda member: -member["reward"])
    return ShownTurn(
        reflection=row["reflection"],
        edit_prompt=row["edit_prompt"],
        answer=row["answer_text"],
        image=_picture(row["image_after"]),
        chips=_chips(row, "after"),
        reward=row["reward"],
        kept=row["carried_on"],
        members=[(_picture(member["image_after"]), member["reward"]) for member in ranked],
    )


def choose(found: Sequence[ShownEpisode], improved: int = 3) -> list[ShownEpisode]:
    """From the last update of each stage, the episodes that gained most and the one that gained least."""
    chosen: list[ShownEpisode] = []
    for stage in dict.fromkeys(episode.stage for episode in found):
        ours = [episode for episode in found if episode.stage == stage]
        last = max(episode.update for episode in ours)
        ranked = sorted((e for e in ours if e.update == last), key=lambda e: (-e.gain, len(e.turns), e.prompt))
        chosen += ranked[:improved]
        if len(ranked) > improved:
            chosen.append(ranked[-1])
    return chosen
