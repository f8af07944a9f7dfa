"""Files of records in LAION-SG's published form, with words, counts and lengths like its own."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LABELS = [f"{thing}{part}" for thing in ("tower", "bridge", "lantern", "woman", "tree") for part in ("", " top", "s")]
LABELS += [f"thing {k}" for k in range(20_000)]
ATTRIBUTES = ["red", "stone", "tall", "glowing", "wooden", "snow-covered", *(f"kind {k}" for k in range(5_000))]
PREDICATES = ["on", "holding", "attached to", "behind", "above", "left of", *(f"relation {k}" for k in range(2_000))]
ODD = ("no relations", "no field 'items[].label'", "an img_id that occurred before", "not an object")


def made_record(rng: random.Random, index: int) -> dict[str, Any]:
    """A record of 3 to 6 items with up to three attributes, and 2 to 5 relations."""
    count = rng.randint(3, 6)
    items = [
        {
            "item_id": k,
            "label": rng.choice(LABELS),
            "attributes": rng.choices(ATTRIBUTES, k=rng.randint(0, 3)),
            "global_item_id": 10 * index + k,
        }
        for k in range(count)
    ]
    relations = []
    for k in range(rng.randint(2, 5)):
        subject = rng.randrange(count)
        relations.append(
            {
                "triple_id": k,
                "item1": subject,
                "relation": rng.choice(PREDICATES),
                "item2": (subject + rng.randrange(1, count)) % count,
                "global_relation_id": 10 * index + k,
            }
        )
    return {
        "img_id": str(index),
        "name": f"{rng.getrandbits(63)}.jpg",
        "caption_ori": " ".join(rng.choices(LABELS, k=12)),
        "score": f"{6.5 + rng.random():.15f}",
        "url": f"http://images.example.com/pictures/{rng.getrandbits(60)}/{index}.jpg",
        "items": items,
        "relations": relations,
    }


def spoiled(record: dict[str, Any], reason: str) -> Any:
    """The record with what makes it unusable for this reason of ODD."""
    if reason == "no relations":
        return record | {"relations": []}
    if reason == "an img_id that occurred before":
        return record | {"img_id": "0"}
    if reason == "not an object":
        return None
    return record | {"items": [{key: value for key, value in one.items() if key != "label"} for one in record["items"]]}


def write_made_records(path: Path, records: int, odd: float, seed: int) -> dict[str, int]:
    """Write a file of records: JSON Lines where its name ends in `.jsonl`, else an array.

    Args:
        odd: share of records after the first that cannot be used.

    Returns:
        How many cannot be used, by reason.
    """
    rng = random.Random(seed)
    lines = path.suffix == ".jsonl"
    wrong = dict.fromkeys(ODD, 0)

    def made() -> Iterator[str]:
        for index in range(records):
            record: Any = made_record(rng, index)
            if index and rng.random() < odd:
                reason = rng.choice(ODD)
                wrong[reason] += 1
                record = spoiled(record, reason)
            yield json.dumps(record)

    with path.open("w", encoding="utf-8") as file:
        file.write("" if lines else "[\n")
        for index, text in enumerate(made()):
            file.write(("" if index == 0 else "\n" if lines else ",\n") + text)
        file.write("\n" if lines else "\n]\n")
    return wrong
