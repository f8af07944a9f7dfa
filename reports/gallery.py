"""Episodes of a run's trajectories, put back together for people to look at."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.number import Number
from reports.reading.table import Row
from reports.reading.trajectories import read_rows
from rewards.satisfaction import HOLDS
from rollout.trajectory import SCHEMA
from scenes.harmless_text import harmless

_NOT_SHOWN = ("token_ids", "token_log_probs", "flow", "scene_graph", "request")
_MOST_TURNS, _MOST_MEMBERS, _MOST_CHIPS, _LONGEST_TITLE = 100, 256, 100, 2000
COLUMNS = [name for name in SCHEMA.names if name not in _NOT_SHOWN]
NO_EDIT, NOT_KEPT = "no edit", "the image was not kept"


@dataclass(frozen=True)
class Chip:
    """One requirement and the Checker's yes-probability of it; None where it gave none."""

    text: str
    probability: float | None

    @property
    def holds(self) -> bool:
        return self.probability is not None and self.probability >= HOLDS


@dataclass(frozen=True)
class ShownMember:
    """Of one member of a group. `without` says why there is no image, where there is none; `reward` is None where it is
    not finite."""

    image: bytes | None
    without: str
    reward: float | None


@dataclass(frozen=True)
class ShownTurn:
    """One turn of the member that went on, or of the best one where none did, and its whole group, the best first. An
    image that was not `kept` is not what the next turn starts from. `without` and `reward` are as those of a member."""

    reflection: str | None
    edit_prompt: str | None
    answer: str
    unread: str | None
    image: bytes | None
    without: str
    chips: list[Chip]
    reward: float | None
    kept: bool
    rejected: str | None
    members: list[ShownMember]


@dataclass(frozen=True)
class ShownEpisode:
    """An episode: the first image, None where it was not kept, then its turns. Images are PNG bytes. `dropped`: its
    first group taught nothing."""

    stage: str
    update: int
    prompt: str
    image: bytes | None
    chips: list[Chip]
    reward_before: float | None
    dropped: bool
    turns: list[ShownTurn]

    @property
    def gain(self) -> float:
        kept = [turn.reward for turn in self.turns if turn.kept and turn.reward is not None]
        return kept[-1] - self.reward_before if kept and self.reward_before is not None else 0.0


def read_episodes(file: Path) -> tuple[list[ShownEpisode], list[str]]:
    """The episodes in a Parquet file of trajectories, and what was wrong with its rows.

    Raises:
        DamagedFile: the file cannot be read.
    """
    rows, faults = read_rows(file, COLUMNS)
    return episodes(rows), faults


def _best(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda row: (row["carried_on"], row["rejected"] is None, finite(row["reward"]) or 0.0))


def finite(value: float | None) -> float | None:
    """The number, None where there is none that is finite."""
    return value if value is not None and math.isfinite(value) else None


def chips(row: Row, which: str) -> list[Chip]:
    """The requirements with the Checker's yes-probability `before` or `after` the edit."""
    pairs = zip(row["requirements"][:_MOST_CHIPS], row[f"satisfaction_{which}"], strict=False)
    return [Chip(text, finite(probability)) for text, probability in pairs]


def parts_of(row: Row) -> str:
    """The parts of a reward, normalised and weighted, where there are several: `checker 0.50 · length −0.10`."""
    parts = (row.get("reward_parts") or [])[:_MOST_CHIPS]
    told = (f"{harmless(one['name'], 40).replace('_', ' ')} {_signed(finite(one['part']))}" for one in parts)
    return " · ".join(told) if len(parts) > 1 else ""


def _signed(part: float | None) -> str:
    return "left out" if part is None else f"{round(part, 2) + 0.0:.2f}".replace("-", "−")


def without_image(row: Row) -> str:
    """Why a turn has no image after it, where it has none."""
    return NO_EDIT if row["edit_prompt"] is None else NOT_KEPT


def not_kept(stage: str, update: int) -> str:
    """The sentence for an update whose images were not kept."""
    return f"The images of update {update} were not kept (keep.{stage} in the run file)."


def title_of(row: Row) -> str:
    """What was asked for."""
    return harmless("; ".join(row["requirements"][:_MOST_CHIPS]), _LONGEST_TITLE)


def episodes(rows: Sequence[Row]) -> list[ShownEpisode]:
    """One episode for each prompt of each update: from turn to turn, the member whose image went on."""
    starts: dict[tuple[str, int, str], dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        starts[row["stage"], row["update"], row["prompt_id"]][row["turn"]].append(row)
    found = []
    for (stage, update, _), by_turn in starts.items():
        chain: list[ShownTurn] = []
        first: Row | None = None
        here = by_turn[0]
        here = [row for row in here if row["group"] == here[0]["group"]]
        while here and len(chain) < _MOST_TURNS:
            chosen = _best(here)
            first = first or chosen
            chain.append(_shown(chosen, here))
            here = [row for row in by_turn[len(chain)] if _follows(row, chosen)]
        if first is not None:
            prompt = title_of(first)
            before = chips(first, "before")
            reward, dropped = finite(first["reward_before"]), first["dropped"]
            found.append(ShownEpisode(stage, update, prompt, first["image_before"], before, reward, dropped, chain))
    return found


def _follows(row: Row, chosen: Row) -> bool:
    """Whether a row of the next turn starts from where `chosen` ended. Images tell; without them, the next group of the
    prompt does, or the same member where a group is of whole episodes."""
    if row["image_before"] is None:
        alike = ("prompt", "member") if row["group"] == chosen["group"] else ("prompt",)
        return all(row[name] == chosen[name] for name in alike)
    return bool(row["image_before"] == chosen["image_after" if chosen["carried_on"] else "image_before"])


def _shown(row: Row, group: Sequence[Row]) -> ShownTurn:
    ranked = sorted(group, key=lambda member: -(finite(member["reward"]) or 0.0))
    return ShownTurn(
        reflection=row["reflection"],
        edit_prompt=row["edit_prompt"],
        answer=row["answer_text"],
        unread=row["unread"],
        image=row["image_after"],
        without=without_image(row),
        chips=chips(row, "after"),
        reward=finite(row["reward"]),
        kept=row["carried_on"],
        rejected=row["rejected"],
        members=[
            ShownMember(member["image_after"], without_image(member), finite(member["reward"]))
            for member in ranked[:_MOST_MEMBERS]
        ],
    )


def choose(found: Sequence[ShownEpisode], best: int = 3, worst: int = 2) -> list[tuple[str, ShownEpisode]]:
    """Of each policy's episodes those that gained most, named `best 1`, …, and those that gained least, `worst 1`, …;
    no episode twice."""
    chosen: list[tuple[str, ShownEpisode]] = []
    for stage in dict.fromkeys(episode.stage for episode in found):
        ours = [episode for episode in found if episode.stage == stage]
        ranked = sorted(ours, key=lambda episode: (-episode.gain, len(episode.turns), episode.prompt))
        chosen += [(f"best {k}", episode) for k, episode in enumerate(ranked[:best], start=1)]
        chosen += [(f"worst {k}", episode) for k, episode in enumerate(ranked[best:][: -worst - 1 : -1], start=1)]
    return chosen


def episode_numbers(run: str, chosen: Sequence[tuple[str, ShownEpisode]]) -> list[Number]:
    """The section `episode`: every number that a page shows of these. `item` is which episode, and which turn of it."""
    numbers = []
    for rank, episode in chosen:
        values: list[tuple[str, str, float | None]] = [(rank, "gain", episode.gain)]
        shown: list[tuple[str, float | None, list[Chip], list[ShownMember]]]
        shown = [("first image", episode.reward_before, episode.chips, [])]
        shown += [(f"turn {k}", turn.reward, turn.chips, turn.members) for k, turn in enumerate(episode.turns, start=1)]
        for where, reward, chips, members in shown:
            item = f"{rank}, {where}"
            values.append((item, "reward", reward))
            values += [(item, f"satisfaction of {chip.text}", chip.probability) for chip in chips]
            values += [(item, "member reward", member.reward) for member in members]
        numbers += [
            Number(run, "episode", metric, float(value), update=episode.update, policy=episode.stage, item=item)
            for item, metric, value in values
            if value is not None
        ]
    return numbers
