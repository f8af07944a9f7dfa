"""Records in LAION-SG's published form: read them with errors that can be acted on, split them, and write them.

A file is a JSON array of records, or JSON Lines with one record a line. A record has `img_id`, `items` (each with
`item_id`, `label`, `attributes`) and `relations` (each with `item1`, `relation`, `item2`, where `item1` and `item2` are
`item_id`s); its other fields are not needed to ask for a picture and are ignored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from scenes.plain_text import plain_text
from scenes.record_file import RecordError, raw_records
from scenes.scene_graph import Item, Relation, SceneGraph, number_repeated_names
from scenes.whole_file import whole_file

SPLITS = ("train", "validation", "test")
SHARES = (0.9, 0.05, 0.05)

_REPEAT = re.compile(r" \(repeat \d+\)\Z")
_LEFT_OUT = {  # mistakes for which a record is left out, and not the file refused
    "invisible": "nothing of it can be seen",
    "string_unicode": "it cannot be written as UTF-8",
}
_SHOWN = 3  # records of a kind that a report names


def _seen(text: str) -> str:
    if not (seen := plain_text(text)):
        raise PydanticCustomError("invisible", "nothing of it can be seen")
    return seen


Text = Annotated[str, Field(min_length=1, pattern=r"\S"), AfterValidator(_seen)]
Identifier = Annotated[
    str,
    Field(min_length=1, pattern=r"\S"),
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
]


class UnusableRecord(RecordError):
    """A record with a value that nobody can read or see; the others of its file can be used."""


@dataclass(frozen=True)
class LoadReport:
    """What became of the records of one file. `left_out` says why for each that cannot be used; `repeated` counts the
    records of each `img_id` that more than one has: all but the first got an id of their own."""

    file: str
    kept: int
    dropped_without_relations: int
    left_out: tuple[str, ...] = ()
    repeated: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.file}: {self.kept} records kept, {self.dropped_without_relations} without relations dropped"

    @property
    def notes(self) -> list[str]:
        """What the owner of the file should know, in a line for each kind."""
        notes = []
        if self.left_out:
            notes.append(f"{self.file}: {len(self.left_out)} records are left out: {_first(self.left_out)}")
        if self.repeated:
            ids = [f"{img_id[:40]!r} {count} times" for img_id, count in self.repeated.items()]
            notes.append(f"{self.file}: {len(ids)} img_ids occur more than once: {_first(ids)}; each record counts")
        return notes


def _first(told: Sequence[str]) -> str:
    more = len(told) - _SHOWN
    return "; ".join(told[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


class _ItemRecord(BaseModel):
    model_config = ConfigDict(strict=True)
    item_id: int
    label: Text
    attributes: list[Text]


class _RelationRecord(BaseModel):
    model_config = ConfigDict(strict=True)
    item1: int
    relation: Text
    item2: int


class _Record(BaseModel):
    model_config = ConfigDict(strict=True)
    img_id: Identifier
    items: list[_ItemRecord]
    relations: list[_RelationRecord]

    def graph(self) -> SceneGraph:
        items = tuple(Item(i.item_id, i.label, tuple(i.attributes)) for i in self.items)
        relations = tuple(Relation(r.item1, r.relation, r.item2) for r in self.relations)
        return SceneGraph(self.img_id, number_repeated_names(items), relations)


def load_records(path: Path) -> tuple[list[SceneGraph], LoadReport]:
    """Read a file of LAION-SG records.

    Returns:
        The scene graphs of all records that have relations, in the order of the file, and what was dropped. Items of
        one record that read the same are told apart by numbers, and so are records with the same `img_id`. Names are as
        `plain_text` makes them; a record with a name of which nothing can be seen, or with a number of more than 300
        digits, is left out.

    Raises:
        FileNotFoundError: no file at `path`.
        RecordError: broken JSON, a field that is missing or of the wrong type, no items, or a relation that refers to
            an item that is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; give a JSON array or JSON Lines of LAION-SG records")
    graphs: dict[str, SceneGraph] = {}
    counts: Counter[str] = Counter()
    left_out: list[str] = []
    dropped = 0
    for index, (raw, problem) in enumerate(raw_records(path)):
        try:
            if problem:
                raise UnusableRecord(f"{path}, record {index}: {problem}")
            graph = read_record(raw, f"{path}, record {index}")
        except UnusableRecord as error:
            left_out.append(str(error).removeprefix(f"{path}, "))
            continue
        if not graph.relations:
            dropped += 1
            continue
        counts[graph.img_id] += 1
        repeat, name = 0, graph.img_id
        while name in graphs:
            repeat += 1
            name = f"{graph.img_id} (repeat {max(repeat, counts[graph.img_id] - 1)})"
        graphs[name] = replace(graph, img_id=name)
    repeated = {img_id: count for img_id, count in counts.items() if count > 1}
    return list(graphs.values()), LoadReport(str(path), len(graphs), dropped, tuple(left_out), repeated)


def read_record(raw: Any, where: str) -> SceneGraph:
    """The scene graph of one parsed record.

    Args:
        where: opens the message of an error.

    Raises:
        UnusableRecord: a name of which nothing can be seen, or an `img_id` that cannot be written.
        RecordError: as `load_records`.
    """
    if not isinstance(raw, dict):
        raise RecordError(f"{where}: is {_shown(raw)}; a record is an object with 'img_id', 'items' and 'relations'")
    try:
        return _Record.model_validate(raw).graph()
    except ValidationError as error:
        unusable = all(mistake["type"] in _LEFT_OUT for mistake in error.errors(include_url=False))
        raise (UnusableRecord if unusable else RecordError)(f"{where}: {_explain(error)}") from error
    except ValueError as error:
        raise RecordError(f"{where}: {error}") from error


def _explain(error: ValidationError) -> str:
    """The first problem that pydantic found, with field, value and remedy, and how many more there are."""
    first = error.errors(include_url=False)[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    others = f" ({error.error_count() - 1} more problems in this record)" if error.error_count() > 1 else ""
    if first["type"] == "missing":
        return f"field '{field}' is missing; add it as LAION-SG publishes it{others}"
    if first["type"] in ("string_too_short", "string_pattern_mismatch"):
        return f"field '{field}' is {_shown(first['input'])}; it needs at least one word{others}"
    if first["type"] in _LEFT_OUT:
        return f"field '{field}' is {_shown(first['input'])}; {_LEFT_OUT[first['type']]}{others}"
    expected = first["msg"].removeprefix("Input should be ").removesuffix(" type")
    return f"field '{field}' is {_shown(first['input'])}; give {expected}{others}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def split_of(img_id: str, seed: int = 0, shares: Sequence[float] = SHARES) -> str:
    """The split of a record: `train`, `validation` or `test`, decided by a hash of its `img_id` and the seed alone.

    Args:
        shares: the expected share of each split, in the order of SPLITS; they add up to 1.

    Raises:
        ValueError: shares that are no such three numbers.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares: {tuple(shares)} must be {len(SPLITS)} numbers from 0 that add up to 1")
    img_id = _REPEAT.sub("", img_id)  # the same picture is not in two splits
    digest = hashlib.sha256(f"{seed}:{img_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < shares[0]:
        return SPLITS[0]
    return SPLITS[1] if position < shares[0] + shares[1] else SPLITS[2]


def split_records(
    graphs: Iterable[SceneGraph], seed: int = 0, shares: Sequence[float] = SHARES
) -> dict[str, list[SceneGraph]]:
    """Divide scene graphs into the splits, keeping their order. A record stays in its split when others come or go."""
    splits: dict[str, list[SceneGraph]] = {split: [] for split in SPLITS}
    for graph in graphs:
        splits[split_of(graph.img_id, seed, shares)].append(graph)
    return splits


def write_records(graphs: Iterable[SceneGraph], path: Path) -> int:
    """Write scene graphs in LAION-SG's form: JSON Lines where the name ends in `.jsonl`, else a JSON array.

    The file appears under its name only when it is complete.

    Returns:
        How many records were written.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    lines = [json.dumps(graph.record(), ensure_ascii=False) for graph in graphs]
    text = "\n".join(lines) if path.suffix == ".jsonl" else "[\n" + ",\n".join(lines) + "\n]"
    with whole_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    return len(lines)
