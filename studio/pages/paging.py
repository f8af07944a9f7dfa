"""Long lists in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def part_of(items: Sequence[T], page: int | None, size: int) -> tuple[Sequence[T], int, int]:
    """The items on a page, its number and how many pages there are, at least one.

    Args:
        page: from 1; one past the end is the last. None: all items on one page.
        size: items on a page.
    """
    if page is None:
        return items, 1, 1
    pages = max(1, -(-len(items) // size))
    number = min(max(1, page), pages)
    return items[(number - 1) * size : number * size], number, pages
