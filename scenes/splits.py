"""Which split of the shape world a scene belongs to: what is in it decides, so that no combination is in both."""

from __future__ import annotations

import hashlib

_HELD_OUT_PERCENT = 20


def split_of(names: list[tuple[str, str]]) -> str:
    """The split that a combination of (colour, shape) pairs belongs to: a fixed hash puts 20 % of them into
    `held_out`."""
    key = "|".join(sorted(f"{colour} {shape}" for colour, shape in names))
    digest = hashlib.sha256(key.encode()).digest()
    return "held_out" if int.from_bytes(digest[:4], "big") % 100 < _HELD_OUT_PERCENT else "train"
