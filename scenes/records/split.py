"""Which records are trained on: as they were published, or else by a hash."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Sequence
from pathlib import Path

from scenes.records.compact import Graphs

SPLITS = ("train", "validation", "test")
SHARES = (0.9, 0.05, 0.05)

# As in the names of data files on the Hugging Face hub.
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
PLACES = {word: SPLITS.index(split) for split, words in WORDS.items() for word in words}


def place_of_file(file: Path) -> int | None:
    """The split that the name of a file names, by its place in SPLITS; None where it names none, or several."""
    found = {PLACES[word] for word in re.split(r"[^a-z]+", file.stem.lower()) if word in PLACES}
    return found.pop() if len(found) == 1 else None


def split_of(img_id: str, seed: int = 0, shares: Sequence[float] = SHARES) -> str:
    """The split of a record: `train`, `validation` or `test`, decided by a hash of its `img_id` and the seed alone.

    Args:
        shares: the expected share of each split, in the order of SPLITS; they add up to 1.

    Raises:
        ValueError: shares that are no such three numbers.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares: {tuple(shares)} must be {len(SPLITS)} numbers from 0 that add up to 1")
    return SPLITS[_place_by_hash(img_id, seed, shares)]


def _place_by_hash(img_id: str, seed: int, shares: Sequence[float]) -> int:
    digest = hashlib.sha256(f"{seed}:{img_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < shares[0]:
        return 0
    return 1 if position < shares[0] + shares[1] else 2


def divided(graphs: Graphs, seed: int = 0) -> dict[str, Graphs]:
    """Scene graphs by split, in their order: the published split of a record, or that of `split_of`. A record stays in
    its split when others come or go."""
    parts = [array("Q") for _ in SPLITS]
    ids, published = graphs.store.img_ids, graphs.store.splits
    for position in graphs.positions:
        place = published[position]
        parts[_place_by_hash(ids[position], seed, SHARES) if place < 0 else place].append(position)
    return {split: graphs.where(positions) for split, positions in zip(SPLITS, parts, strict=True)}
