"""The gallery: the groups of one update, all members side by side with their rewards and advantages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rollout.reporting.gallery import Chip, chips, finite
from serving.pages.group_filter import GroupFilter
from serving.pages.paging import part_of
from serving.pages.run_index import NotThere
from serving.pages.trajectory_file import (
    LIGHT,
    DamagedFile,
    Row,
    each_row,
    failed,
    key_of,
    read_rows,
    shown_image,
    updates_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from serving.pages.links import Links
    from serving.pages.run_index import RunsFolder

GROUPS_ON_A_PAGE = 12
_SIDE = 256  # pixels that an image is at most high and wide


@dataclass(frozen=True)
class ShownMember:
    """`image` is a data URI; None with the reason in `without`."""

    member: int
    image: str | None
    without: str
    reward: float | None
    advantage: float | None
    carried_on: bool
    rejected: str | None
    edit_prompt: str | None
    answer: str
    link: str | None


@dataclass(frozen=True)
class ShownGroup:
    """A group in one turn. `spread` is the standard deviation of its rewards."""

    group: int
    turn: int
    prompt: int
    stage: str
    requirements: str
    image: str | None
    chips: list[Chip]
    reward_before: float | None
    spread: float | None
    dropped: bool
    failed: bool
    members: list[ShownMember]


@dataclass(frozen=True)
class GroupPage:
    """The groups of an update that pass a filter, `page` of `pages`; `total` pass, `all` there are. `before` and
    `after` are the nearest updates that may hold such groups. `problem` says why there is nothing to show."""

    run: str
    update: int | None
    stage: str
    filter: GroupFilter
    groups: list[ShownGroup]
    page: int
    pages: int
    total: int
    all: int
    turns: list[int]
    first: int | None
    last: int | None
    before: int | None
    after: int | None
    problem: str | None


def group_page(
    folder: RunsFolder, name: str, update: int | None, wanted: GroupFilter, links: Links, page: int | None = 1
) -> GroupPage:
    """The groups of `update`, by default of the last update that may hold such groups.

    Args:
        page: from 1; one past the end is the last. None: all groups on one page.

    Raises:
        NotThere: no such run or update.
    """
    run = folder.find(name)
    updates = updates_of(folder, run)
    lines = {line["update"]: line for line in folder.lines(run)[0]}
    fitting = [number for number in updates if wanted.of_update(lines.get(number))]
    if update is not None and update not in updates:
        raise NotThere(f"update {update}: there are no trajectories of it in run {name!r}")
    if update is None:
        update = (fitting or updates or [None])[-1]
    here = _Here(name, updates, fitting, update, lines.get(update, {}).get("stage", ""), wanted)
    if update is None:
        return here.without("There are no trajectories yet: the first update is not finished, or they were removed.")
    try:
        groups = _groups(read_rows(folder, run, update, LIGHT))
        chosen = [rows for rows in groups if wanted.of_group(rows)]
        on_page, number, pages = part_of(chosen, page, GROUPS_ON_A_PAGE)
        images = _images(folder, run, update, on_page)
    except DamagedFile as error:
        return here.without(str(error))
    return GroupPage(
        groups=[_shown(rows, images, name, update, links) for rows in on_page],
        page=number,
        pages=pages,
        total=len(chosen),
        all=len(groups),
        turns=sorted({rows[0]["turn"] for rows in groups}),
        problem=None if chosen else "No group of this update passes the filter." if groups else "It holds no group.",
        **here.around(groups[0][0]["stage"] if groups else None),
    )


@dataclass(frozen=True)
class _Here:
    """What every page says about where it is."""

    name: str
    updates: list[int]
    fitting: list[int]
    update: int | None
    stage: str
    filter: GroupFilter

    def around(self, stage: str | None = None) -> dict:
        earlier = [n for n in self.fitting if self.update is not None and n < self.update]
        later = [n for n in self.fitting if self.update is not None and n > self.update]
        return {
            "run": self.name,
            "update": self.update,
            "stage": stage or self.stage,
            "filter": self.filter,
            "first": self.updates[0] if self.updates else None,
            "last": self.updates[-1] if self.updates else None,
            "before": earlier[-1] if earlier else None,
            "after": later[0] if later else None,
        }

    def without(self, problem: str) -> GroupPage:
        return GroupPage(groups=[], page=1, pages=1, total=0, all=0, turns=[], problem=problem, **self.around())


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows by group and turn, members in their order."""
    found: dict[tuple[int, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["group"], row["turn"], row["member"])):
        found.setdefault((row["group"], row["turn"]), []).append(row)
    return list(found.values())


def _images(
    folder: RunsFolder, run: Path, update: int, groups: Sequence[Sequence[Row]]
) -> dict[tuple[int, int, int], dict[str, str | None]]:
    """Data URIs by member: `after` of every one, `before` of the first of each group."""
    wanted = {key_of(row) for rows in groups for row in rows}
    first = {key_of(rows[0]) for rows in groups}
    columns = ("group", "turn", "member", "image_before", "image_after")
    found: dict[tuple[int, int, int], dict[str, str | None]] = {}
    for row in each_row(folder, run, update, columns) if wanted else ():
        if key_of(row) in wanted:
            found[key_of(row)] = {
                "before": shown_image(row["image_before"], _SIDE) if key_of(row) in first else None,
                "after": shown_image(row["image_after"], _SIDE),
                "without": "no edit" if row["image_after"] is None else "the image cannot be read",
            }
    return found


def _shown(
    rows: Sequence[Row],
    images: Mapping[tuple[int, int, int], Mapping[str, str | None]],
    name: str,
    update: int,
    links: Links,
) -> ShownGroup:
    first = rows[0]
    sound = [row["reward"] for row in rows if row["rejected"] is None and finite(row["reward"]) is not None]
    return ShownGroup(
        group=first["group"],
        turn=first["turn"],
        prompt=first["prompt"],
        stage=first["stage"],
        requirements="; ".join(first["requirements"]),
        image=images[key_of(first)]["before"],
        chips=chips(first, "before"),
        reward_before=finite(first["reward_before"]),
        spread=float(np.std(sound)) if sound else None,
        dropped=first["dropped"],
        failed=any(failed(row) for row in rows),
        members=[
            ShownMember(
                member=row["member"],
                image=images[key_of(row)]["after"],
                without=str(images[key_of(row)]["without"]),
                reward=finite(row["reward"]),
                advantage=finite(row["advantage"]),
                carried_on=row["carried_on"],
                rejected=row["rejected"],
                edit_prompt=row["edit_prompt"],
                answer=row["answer_text"],
                link=links.trajectory(name, update, row["group"], row["member"]),
            )
            for row in rows
        ],
    )
