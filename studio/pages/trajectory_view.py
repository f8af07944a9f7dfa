"""One trajectory: the turns of a member with its tokens, their probabilities, and the denoising of its edits."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image

from actors.flow_path import FlowPath
from rollout.reporting.gallery import Chip, chips, finite
from rollout.trajectory import SCHEMA
from scenes.png import data_uri, encode_png
from serving.pages.latent_strip import latent_pictures
from serving.pages.run_index import NotThere
from serving.pages.token_texts import token_texts, tokenizer_of
from serving.pages.trajectory_file import LIGHT, Row, key_of, read_rows, shown_image

if TYPE_CHECKING:
    from pathlib import Path

    from serving.pages.links import Links
    from serving.pages.run_index import RunsFolder

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
class Latent:
    """One state of the denoising: a data URI, its noise level σ, and the log-probability of the step that led here
    (None for the first)."""

    image: str
    sigma: float
    log_prob: float | None


@dataclass(frozen=True)
class ShownStep:
    """One turn. `own` is whether this member took it; otherwise it is the one before, from which its group started.
    `note` says what of the denoising cannot be shown."""

    turn: int
    group: int
    member: int
    own: bool
    image_before: str | None
    image_after: str | None
    edited: bool
    chips_before: list[Chip]
    chips_after: list[Chip]
    request: str
    reflection: str | None
    edit_prompt: str | None
    answer: str
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


def trajectory_page(
    folder: RunsFolder, name: str, update: int, group: int, member: int, links: Links
) -> TrajectoryPage:
    """The turns of one member, before them those of its prompt from which its group started.

    Raises:
        NotThere: no such run, update or member.
        DamagedFile: the update's file cannot be read.
    """
    run = folder.find(name)
    light = read_rows(folder, run, update, LIGHT)
    own = [row for row in light if (row["group"], row["member"]) == (group, member)]
    if not own:
        raise NotThere(f"update {update}: group {group} has no member {member}")
    wanted = {key_of(row) for row in (*_led(light, own), *own)}
    full = read_rows(folder, run, update, SCHEMA.names, lambda row: key_of(row) in wanted)
    return _Pages(name, update, links, tokenizer_of(folder.record(name)), light).page(group, member, full)


def trajectory_pages(folder: RunsFolder, name: str, update: int, links: Links) -> Iterator[TrajectoryPage]:
    """A page for every member of every group of an update, read prompt by prompt. The tokenizer is taken from wherever
    the run's configuration says.

    Raises:
        NotThere: no such run or update.
        DamagedFile: the update's file cannot be read.
    """
    run = folder.find(name)
    light = read_rows(folder, run, update, LIGHT)
    pages = _Pages(name, update, links, tokenizer_of(folder.record(name), anywhere=True), light)
    for prompt in dict.fromkeys(row["prompt"] for row in light):
        full = read_rows(folder, run, update, SCHEMA.names, lambda row, prompt=prompt: row["prompt"] == prompt)
        for group, member in dict.fromkeys((row["group"], row["member"]) for row in full):
            yield pages.page(group, member, full)


class _Pages:
    """Makes the pages of one update; `light` are all of its rows, without images and tokens."""

    def __init__(self, run: str, update: int, links: Links, tokenizer: Path | None, light: Sequence[Row]) -> None:
        self.run, self.update, self.links, self.tokenizer, self.light = run, update, links, tokenizer, light

    def page(self, group: int, member: int, rows: Sequence[Row]) -> TrajectoryPage:
        """The page of one member; `rows` hold, complete, its own and those that led to them."""
        own = [row for row in rows if (row["group"], row["member"]) == (group, member)]
        shown = sorted((*_led(rows, own), *own), key=lambda row: row["turn"])
        texts, note = _texts(self.tokenizer, shown)
        last = max(own, key=lambda row: row["turn"])
        return TrajectoryPage(
            run=self.run,
            update=self.update,
            stage=last["stage"],
            group=group,
            member=member,
            prompt=last["prompt"],
            requirements="; ".join(last["requirements"]),
            advantage=finite(last["advantage"]),
            dropped=last["dropped"],
            steps=[
                _step(row, row["group"] == group, texts[k], self._link(row["group"], row["member"]))
                for k, row in enumerate(shown)
            ],
            siblings=self._siblings(group),
            tokens_note=note,
        )

    def _link(self, group: int, member: int) -> str | None:
        return self.links.trajectory(self.run, self.update, group, member)

    def _siblings(self, group: int) -> list[Sibling]:
        last: dict[int, Row] = {}
        for row in sorted(self.light, key=lambda row: row["turn"]):
            if row["group"] == group:
                last[row["member"]] = row
        return [Sibling(m, finite(row["reward"]), self._link(group, m)) for m, row in sorted(last.items())]


def _led(rows: Sequence[Row], own: Sequence[Row]) -> list[Row]:
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
    nothing = [[""] * len(row["token_ids"]) for row in rows]
    if tokenizer is None:
        why = "the run holds no models/actor/tokenizer.json yet"
        return nothing, f"The tokens have no text: {why}. Their numbers are shown."
    try:
        return [token_texts(tokenizer, row["token_ids"]) for row in rows], None
    except ValueError as error:
        return nothing, f"The tokens have no text: {error}. Their numbers are shown."


def _step(row: Row, own: bool, texts: Sequence[str], link: str | None) -> ShownStep:
    strip, note = _strip(row) if own else ([], None)
    return ShownStep(
        turn=row["turn"],
        group=row["group"],
        member=row["member"],
        own=own,
        image_before=shown_image(row["image_before"], _SIDE),
        image_after=shown_image(row["image_after"], _SIDE),
        edited=row["image_after"] is not None,
        chips_before=chips(row, "before"),
        chips_after=chips(row, "after"),
        request=row["request"],
        reflection=row["reflection"],
        edit_prompt=row["edit_prompt"],
        answer=row["answer_text"],
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


def _strip(row: Row) -> tuple[list[Latent], str | None]:
    if row["flow"] is None:
        why = "there was no edit" if row["image_after"] is None else "the editor did not train in this update"
        return [], f"No denoising was recorded: {why}."
    try:
        path = FlowPath.from_record(row["flow"])
        with Image.open(io.BytesIO(row["image_before"])) as image:
            pictures = latent_pictures(path, image.height, image.width)
    except (ValueError, OSError, Image.DecompressionBombError) as error:
        what = str(error) if isinstance(error, ValueError) else "the image before it cannot be read"
        return [], f"The denoising cannot be shown: {what}."
    steps = [None, *path.log_probs.tolist()]
    return [
        Latent(data_uri(encode_png(picture)), float(sigma), None if step is None else finite(step))
        for picture, sigma, step in zip(pictures, path.sigmas, steps, strict=True)
    ], None


def _facts(row: Row) -> dict[str, str]:
    seeds = {"drawing": row["draw_seed"], "answer": row["actor_seed"], "edit": row["edit_seed"]}
    seconds = {phase: value for phase, value in row["seconds"].items() if value}
    return {
        "Actor's version": str(row["actor_version"]),
        "editor's version": str(row["editor_version"]) if row["editor_version"] >= 0 else "it did not edit",
        "seeds": ", ".join(f"{what} {seed}" for what, seed in seeds.items() if seed is not None) or "not recorded",
        "seconds of the batch": ", ".join(f"{phase} {value:.2f}" for phase, value in seconds.items()) or "not recorded",
    }
