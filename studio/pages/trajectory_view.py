"""One trajectory: the turns of a member with its tokens, their probabilities, and the denoising of its edits."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reports.drawing.latent_strip import Latent, strip_of
from reports.episodes.token_texts import tokenizer_of
from reports.gallery import NOT_KEPT, Chip, chips, finite, title_of, without_image
from reports.reading.picture import Pictures
from reports.reading.table import Row
from reports.reading.tokens import TOKENIZERS, NoTokenizer
from reports.reading.trajectories import LIGHT
from rollout.trajectory import SCHEMA
from studio.pages.run_index import NotThere
from studio.pages.trajectory_file import key_of, read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from studio.pages.links import Links
    from studio.pages.run_index import RunsFolder

_MOST_STEPS, _MOST_SIBLINGS, MOST_TOKENS = 100, 1000, 8192
_ROWS_AT_ONCE = 64
_SIDE = 512  # pixels that an image is at most high and wide


@dataclass(frozen=True)
class Token:
    """`tenth` is its probability, 0 to 10 tenths, rounded down; None where no probability is known."""

    id: int
    text: str
    probability: float | None

    @property
    def tenth(self) -> int | None:
        return None if self.probability is None else min(10, max(0, int(self.probability * 10)))


@dataclass(frozen=True)
class ShownStep:
    """One turn, counted from 1. `own` is whether this member took it; otherwise it is the one before, from which its
    group started. `without_before` and `without_after` say why an image is not shown, `note` what of the denoising."""

    turn: int
    group: int
    member: int
    own: bool
    image_before: str | None
    without_before: str
    image_after: str | None
    without_after: str
    edited: bool
    chips_before: list[Chip]
    chips_after: list[Chip]
    request: str
    reflection: str | None
    edit_prompt: str | None
    answer: str
    unread: str | None
    reward_before: float | None
    reward: float | None
    carried_on: bool
    rejected: str | None
    link: str | None
    tokens: list[Token] = field(default_factory=list)
    strip: list[Latent] = field(default_factory=list)
    note: str | None = None
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sibling:
    """Another member of the group, or this one."""

    member: int
    reward: float | None
    link: str | None


@dataclass(frozen=True)
class TrajectoryPage:
    """`advantage` is of this member in its group. `tokens_note` says why tokens have no text."""

    run: str
    update: int
    stage: str
    group: int
    member: int
    prompt: int
    requirements: str
    advantage: float | None
    dropped: bool
    steps: list[ShownStep]
    siblings: list[Sibling]
    tokens_note: str | None
    damaged: list[str]


def trajectory_page(
    folder: RunsFolder, name: str, update: int, group: int, member: int, links: Links
) -> TrajectoryPage:
    """The turns of one member, before them those of its prompt from which its group started.

    Raises:
        NotThere: no such run, update or member.
        DamagedFile: the update's file cannot be read.
    """
    run = folder.find(name)
    light, damaged = read_rows(folder, run, update, LIGHT)
    own = [row for row in light.values() if (row["group"], row["member"]) == (group, member)]
    if not own:
        raise NotThere(f"update {update}: group {group} has no member {member}")
    wanted = {key_of(row) for row in (*_led(light.values(), own), *own)}
    numbers = [number for number, row in light.items() if key_of(row) in wanted][:_MOST_STEPS]
    full, more = read_rows(folder, run, update, SCHEMA.names, numbers)
    damaged += [fault for fault in more if fault not in damaged]
    pages = _Pages(name, update, links, tokenizer_of(folder.record(name)), light.values(), damaged)
    return pages.page(group, member, list(full.values()))


def trajectory_pages(folder: RunsFolder, name: str, update: int, links: Links) -> Iterator[TrajectoryPage]:
    """A page for every member of every group of an update, read prompt by prompt. The tokenizer is taken from wherever
    the run's configuration says.

    Raises:
        NotThere: no such run or update.
        DamagedFile: the update's file cannot be read.
    """
    run = folder.find(name)
    light, damaged = read_rows(folder, run, update, LIGHT)
    pages = _Pages(name, update, links, tokenizer_of(folder.record(name), anywhere=True), light.values(), damaged)
    prompts: dict[int, list[int]] = {}
    for number, row in light.items():
        prompts.setdefault(row["prompt"], []).append(number)
    for together in _filled(prompts.values()):
        full: dict[int, list[Row]] = {}
        for row in read_rows(folder, run, update, SCHEMA.names, together)[0].values():
            full.setdefault(row["prompt"], []).append(row)
        for rows in full.values():
            for group, member in dict.fromkeys((row["group"], row["member"]) for row in rows):
                yield pages.page(group, member, rows)


def _filled(parts: Iterable[list[int]]) -> Iterator[set[int]]:
    """Numbers of rows, whole prompts together, about as many at once as fit in memory."""
    together: set[int] = set()
    for part in parts:
        together.update(part[:_MOST_STEPS])
        if len(together) >= _ROWS_AT_ONCE:
            yield together
            together = set()
    if together:
        yield together


class _Pages:
    """Makes the pages of one update; `light` are all of its rows, without images and tokens."""

    def __init__(
        self,
        run: str,
        update: int,
        links: Links,
        tokenizer: Path | None,
        light: Collection[Row],
        damaged: list[str],
    ) -> None:
        self.run, self.update, self.links, self.tokenizer, self.damaged = run, update, links, tokenizer, damaged
        self.last: dict[int, dict[int, Row]] = {}
        for row in sorted(light, key=lambda row: row["turn"]):
            self.last.setdefault(row["group"], {})[row["member"]] = row

    def page(self, group: int, member: int, rows: Sequence[Row]) -> TrajectoryPage:
        """The page of one member; `rows` hold, complete, its own and those that led to them."""
        own = [row for row in rows if (row["group"], row["member"]) == (group, member)]
        shown = sorted((*_led(rows, own), *own), key=lambda row: row["turn"])
        texts, note = _texts(self.tokenizer, shown)
        pictures = Pictures()
        last = max(own, key=lambda row: row["turn"])
        return TrajectoryPage(
            run=self.run,
            update=self.update,
            stage=last["stage"],
            group=group,
            member=member,
            prompt=last["prompt"],
            requirements=title_of(last),
            advantage=finite(last["advantage"]),
            dropped=last["dropped"],
            steps=[
                _step(row, row["group"] == group, texts[k], self._link(row["group"], row["member"]), pictures)
                for k, row in enumerate(shown)
            ],
            siblings=self._siblings(group),
            tokens_note=note,
            damaged=self.damaged,
        )

    def _link(self, group: int, member: int) -> str | None:
        return self.links.trajectory(self.run, self.update, group, member)

    def _siblings(self, group: int) -> list[Sibling]:
        last = sorted(self.last.get(group, {}).items())[:_MOST_SIBLINGS]
        return [Sibling(member, finite(row["reward"]), self._link(group, member)) for member, row in last]


def _led(rows: Iterable[Row], own: Sequence[Row]) -> list[Row]:
    """Of each turn of the same prompt before `own`, where other groups took it, the member that was carried on; none
    where no edit was kept, as the next turn then starts from the same image."""
    first = min(row["turn"] for row in own)
    one = own[0]
    same = [
        r for r in rows if (r["prompt"], r["stage"]) == (one["prompt"], one["stage"]) and r["group"] != one["group"]
    ]
    return [row for row in same if row["turn"] < first and row["carried_on"]]


def _texts(tokenizer: Path | None, rows: Sequence[Row]) -> tuple[list[list[str]], str | None]:
    """The texts of each row's tokens, empty ones with the reason where they are not known."""
    nothing = [[""] * len(row["token_ids"][:MOST_TOKENS]) for row in rows]
    if tokenizer is None:
        why = "the run holds no models/actor/tokenizer.json yet"
        return nothing, f"The tokens have no text: {why}. Their numbers are shown."
    try:
        TOKENIZERS.texts(tokenizer, [token for row in rows for token in row["token_ids"][:MOST_TOKENS]])
        return [TOKENIZERS.texts(tokenizer, row["token_ids"][:MOST_TOKENS]) for row in rows], None
    except (NoTokenizer, OSError) as error:
        why = str(error) if isinstance(error, NoTokenizer) else "tokenizer.json cannot be read"
        return nothing, f"The tokens have no text: {why}. Their numbers are shown."


def _step(row: Row, own: bool, texts: Sequence[str], link: str | None, pictures: Pictures) -> ShownStep:
    strip, note = strip_of(row) if own else ([], None)
    return ShownStep(
        turn=row["turn"] + 1,
        group=row["group"],
        member=row["member"],
        own=own,
        image_before=pictures.shown(row["image_before"], _SIDE),
        without_before=NOT_KEPT if row["image_before"] is None else pictures.why,
        image_after=pictures.shown(row["image_after"], _SIDE),
        without_after=without_image(row) if row["image_after"] is None else pictures.why,
        edited=row["edit_prompt"] is not None,
        chips_before=chips(row, "before"),
        chips_after=chips(row, "after"),
        request=row["request"],
        reflection=row["reflection"],
        edit_prompt=row["edit_prompt"],
        answer=row["answer_text"],
        unread=row["unread"],
        reward_before=finite(row["reward_before"]),
        reward=finite(row["reward"]),
        carried_on=row["carried_on"],
        rejected=row["rejected"],
        link=None if own else link,
        tokens=_tokens(row, texts) if own else [],
        strip=strip,
        note=note,
        facts=_facts(row),
    )


def _tokens(row: Row, texts: Sequence[str]) -> list[Token]:
    log_probs = [*row["token_log_probs"], *[None] * len(texts)]
    chances = [None if finite(value) is None else math.exp(min(value, 0.0)) for value in log_probs]
    return [Token(*one) for one in zip(row["token_ids"], texts, chances, strict=False)]


def _facts(row: Row) -> dict[str, str]:
    seeds = {"drawing": row["draw_seed"], "answer": row["actor_seed"], "edit": row["edit_seed"]}
    seconds = {phase: value for phase, value in row["seconds"].items() if finite(value)}
    return {
        "Actor's version": str(row["actor_version"]),
        "editor's version": str(row["editor_version"]) if row["editor_version"] >= 0 else "it did not edit",
        "seeds": ", ".join(f"{what} {seed}" for what, seed in seeds.items() if seed is not None) or "not recorded",
        "seconds of the batch": ", ".join(f"{phase} {value:.2f}" for phase, value in seconds.items()) or "not recorded",
    }
