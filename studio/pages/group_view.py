"""The gallery: the groups of one update, all members side by side with their rewards and advantages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.gallery import NOT_KEPT, Chip, chips, finite, parts_of, title_of, without_image
from reports.reading.picture import UNREADABLE, Pictures
from reports.reading.table import DamagedFile, Row
from reports.reading.trajectories import LIGHT
from studio.pages.group_filter import GroupFilter
from studio.pages.paging import part_of
from studio.pages.run_index import NotThere
from studio.pages.trajectory_file import Numbered, failed, key_of, read_rows, updates_of

if TYPE_CHECKING:
    from pathlib import Path

    from studio.pages.links import Links
    from studio.pages.run_index import RunsFolder

GROUPS_ON_A_PAGE, MOST_MEMBERS, _MOST_TURNS = 12, 256, 100
_NO_IMAGE: dict[str, str | None] = {"before": None, "no_start": UNREADABLE, "after": None, "without": UNREADABLE}
_SIDE = 256  # pixels that an image is at most high and wide


@dataclass(frozen=True)
class ShownMember:
    """`image` is a data URI; None with the reason in `without`."""

    member: int
    image: str | None
    without: str
    reward: float | None
    parts: str
    advantage: float | None
    carried_on: bool
    rejected: str | None
    edit_prompt: str | None
    answer: str
    unread: str | None
    link: str | None


@dataclass(frozen=True)
class ShownGroup:
    """A group in one turn, counted from 1. `image` is where it started, None with the reason in `without`; `spread` is
    the standard deviation of its rewards."""

    group: int
    turn: int
    prompt: int
    stage: str
    requirements: str
    image: str | None
    without: str
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
    damaged: list[str]
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
        update = next(reversed(fitting or updates), None)
    here = _Here(name, updates, fitting, update, lines.get(update, {}).get("stage", ""), wanted)
    if update is None:
        return here.without("There are no trajectories yet: the first update is not finished, or they were removed.")
    try:
        light, damaged = read_rows(folder, run, update, LIGHT)
        groups = _groups(light)
        chosen = [members for members in groups if wanted.of_group(_rows(members))]
        on_page, number, pages = part_of(chosen, page, GROUPS_ON_A_PAGE)
        on_page = [members[:MOST_MEMBERS] for members in on_page]
        images, more = _images(folder, run, update, on_page)
    except DamagedFile as error:
        return here.without(str(error))
    return GroupPage(
        groups=[_shown(_rows(members), images, name, update, links) for members in on_page],
        damaged=[*damaged, *(fault for fault in more if fault not in damaged)],
        page=number,
        pages=pages,
        total=len(chosen),
        all=len(groups),
        turns=sorted({members[0][1]["turn"] + 1 for members in groups})[:_MOST_TURNS],
        problem=None if chosen else "No group of this update passes the filter." if groups else "It holds no group.",
        **here.around(groups[0][0][1]["stage"] if groups else None),
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

    def around(self, stage: str | None = None) -> dict[str, Any]:
        return {
            "run": self.name,
            "update": self.update,
            "stage": stage or self.stage,
            "filter": self.filter,
            "first": self.updates[0] if self.updates else None,
            "last": self.updates[-1] if self.updates else None,
            "before": max((n for n in self.fitting if n < (self.update or 0)), default=None),
            "after": min((n for n in self.fitting if n > (self.update or 0)), default=None),
        }

    def without(self, problem: str) -> GroupPage:
        return GroupPage(
            groups=[], damaged=[], page=1, pages=1, total=0, all=0, turns=[], problem=problem, **self.around()
        )


Members = list[tuple[int, Row]]
Images = dict[tuple[int, int, int], dict[str, str | None]]


def _groups(rows: Numbered) -> list[Members]:
    """The rows with their numbers by group and turn, members in their order."""
    found: dict[tuple[int, int], Members] = {}
    for number, row in sorted(rows.items(), key=lambda one: (one[1]["group"], one[1]["turn"], one[1]["member"])):
        found.setdefault((row["group"], row["turn"]), []).append((number, row))
    return list(found.values())


def _rows(members: Members) -> list[Row]:
    return [row for _, row in members]


def _images(folder: RunsFolder, run: Path, update: int, groups: Sequence[Members]) -> tuple[Images, list[str]]:
    """Data URIs by member: `after` of every one, `before` of the first of each group; and what was wrong."""
    numbers = {number for members in groups for number, _ in members}
    first = {key_of(members[0][1]) for members in groups}
    pictures, found = Pictures(), Images()
    if not numbers:
        return found, []
    columns = ("group", "turn", "member", "edit_prompt", "image_before", "image_after")
    rows, damaged = read_rows(folder, run, update, columns, numbers)
    for row in rows.values():
        found[key_of(row)] = {
            "before": pictures.shown(row["image_before"], _SIDE) if key_of(row) in first else None,
            "no_start": NOT_KEPT if row["image_before"] is None else pictures.why,
            "after": pictures.shown(row["image_after"], _SIDE),
            "without": without_image(row) if row["image_after"] is None else pictures.why,
        }
    return found, damaged


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
        turn=first["turn"] + 1,
        prompt=first["prompt"],
        stage=first["stage"],
        requirements=title_of(first),
        image=images.get(key_of(first), _NO_IMAGE)["before"],
        without=str(images.get(key_of(first), _NO_IMAGE)["no_start"]),
        chips=chips(first, "before"),
        reward_before=finite(first["reward_before"]),
        spread=float(np.std(sound)) if sound else None,
        dropped=first["dropped"],
        failed=any(failed(row) for row in rows),
        members=[
            ShownMember(
                member=row["member"],
                image=images.get(key_of(row), _NO_IMAGE)["after"],
                without=str(images.get(key_of(row), _NO_IMAGE)["without"]),
                reward=finite(row["reward"]),
                parts=parts_of(row),
                advantage=finite(row["advantage"]),
                carried_on=row["carried_on"],
                rejected=row["rejected"],
                edit_prompt=row["edit_prompt"],
                answer=row["answer_text"],
                unread=row["unread"],
                link=links.trajectory(name, update, row["group"], row["member"]),
            )
            for row in rows
        ],
    )
