"""One trajectory: the turns of a member with its tokens, their probabilities, and the denoising of its edits."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image

from actors.flow_path import FlowPath
from rollout.reporting.gallery import Chip
from rollout.trajectory import SCHEMA
from scenes.png import data_uri, encode_png
from serving.pages.latent_strip import latent_pictures
from serving.pages.run_index import NotThere
from serving.pages.token_texts import token_texts, tokenizer_of
from serving.pages.trajectory_file import LIGHT, Row, chips, finite, read_rows, shown_image

if TYPE_CHECKING:
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
    folder: RunsFolder, name: str, update: int, group: int, member: int, links: Links, anywhere: bool = False
) -> TrajectoryPage:
    """The turns of one member, before them those of its prompt from which its group started.

    Args:
        anywhere: as for `tokenizer_of`.

    Raises:
        NotThere: no such run, update or member.
        DamagedFile: the update's file cannot be read.
    """
    run = folder.find(name)
    light = read_rows(folder, run, update, LIGHT)
    own = [row for row in light if (row["group"], row["member"]) == (group, member)]
    if not own:
        raise NotThere(f"update {update}: group {group} has no member {member}")
    prompt, first = own[0]["prompt"], min(row["turn"] for row in own)
    led = _led(light, own[0], first)
    wanted = {(row["group"], row["turn"], row["member"]) for row in (*led, *own)}
    rows = read_rows(
        folder, run, update, SCHEMA.names, lambda row: (row["group"], row["turn"], row["member"]) in wanted
    )
    rows.sort(key=lambda row: row["turn"])
    texts, note = _texts(folder, name, rows, anywhere)
    last = own[-1]
    return TrajectoryPage(
        run=name,
        update=update,
        stage=last["stage"],
        group=group,
        member=member,
        prompt=prompt,
        requirements="; ".join(last["requirements"]),
        advantage=finite(last["advantage"]),
        dropped=last["dropped"],
        steps=[
            _step(
                row,
                (row["group"], row["member"]) == (group, member),
                texts[k],
                links.trajectory(name, update, row["group"], row["member"]),
            )
            for k, row in enumerate(rows)
        ],
        siblings=_siblings(light, name, update, group, links),
        tokens_note=note,
    )


def _led(rows: Sequence[Row], own: Row, before: int) -> list[Row]:
    """Of each turn of the same prompt before `own`, where other groups took it, the member that was carried on; none
    where no edit was kept, as the next turn then starts from the same image."""
    same = [
        r for r in rows if (r["prompt"], r["stage"]) == (own["prompt"], own["stage"]) and r["group"] != own["group"]
    ]
    return [row for row in same if row["turn"] < before and row["carried_on"]]


def _siblings(rows: Sequence[Row], name: str, update: int, group: int, links: Links) -> list[Sibling]:
    last: dict[int, Row] = {}
    for row in sorted(rows, key=lambda row: row["turn"]):
        if row["group"] == group:
            last[row["member"]] = row
    return [
        Sibling(m, finite(row["reward"]), links.trajectory(name, update, group, m)) for m, row in sorted(last.items())
    ]


def _texts(folder: RunsFolder, name: str, rows: Sequence[Row], anywhere: bool) -> tuple[list[list[str]], str | None]:
    """The texts of each row's tokens, empty ones with the reason where they are not known."""
    nothing = [[""] * len(row["token_ids"]) for row in rows]
    tokenizer = tokenizer_of(folder.record(name), anywhere)
    if tokenizer is None:
        return (
            nothing,
            "The tokens have no text: the run holds no models/actor/tokenizer.json yet. Their numbers are shown.",
        )
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
