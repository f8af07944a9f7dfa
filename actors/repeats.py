"""Members of a group share an image and often a prompt: what does not depend on the member is computed once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def without_repeats(keys: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Where each different key stands first, and for every key its place among these.

    `[a, b, a, c]` → `[0, 1, 3]`, `[0, 1, 0, 2]`; so `[values_of_firsts[place] for place in places]` puts repeats back.
    """
    firsts: dict[Hashable, int] = {}
    for index, key in enumerate(keys):
        firsts.setdefault(key, index)
    place = {key: number for number, key in enumerate(firsts)}
    return list(firsts.values()), [place[key] for key in keys]
