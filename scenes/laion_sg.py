"""Records in LAION-SG's published form: read them leniently, say what is wrong with the others, write them.

A file is a JSON array of records, or JSON Lines with one record a line; a folder has such files, one or more for each
split. A record has `img_id`, `items` (each with `item_id`, `label`, `attributes`) and `relations` (each with `item1`,
`relation`, `item2`, where `item1` and `item2` are `item_id`s), and may have `split`, and `requirements` of other kinds
(see `scenes.kinds.records`); its other fields are not needed to ask for a picture and are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from scenes.kinds.records import OtherRecord, Text
from scenes.orders import contradictions
from scenes.record_file import RecordError, raw_records
from scenes.records.compact import Graphs, GraphStore, PackedRecord
from scenes.records.from_items import RELATIONS, Kinds, required
from scenes.records.report import LoadReport
from scenes.records.split import PLACES, SPLITS, place_of_file
from scenes.scene_graph import Item, Relation, SceneGraph, UnusableGraph, number_repeated_names
from scenes.whole_file import whole_file

_INVISIBLE = {  # mistakes of a text, and what they mean
    "invisible": "nothing of it can be seen",
    "string_unicode": "it cannot be written as UTF-8",
}


def _a_split(text: str) -> str:
    if text not in PLACES:
        raise PydanticCustomError("no_split", "Input should be one of {splits}", {"splits": ", ".join(SPLITS)})
    return text


Identifier = Annotated[
    str,
    Field(min_length=1, pattern=r"\S"),
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
]


class UnusableRecord(RecordError):
    """A record that asks for no picture; the others of its file can be used. `reason` is what to count it by."""

    def __init__(self, where: str, reason: str, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.reason = reason


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
    requirements: list[OtherRecord] = []
    split: Annotated[str, AfterValidator(_a_split)] | None = None

    def graph(self) -> SceneGraph:
        items = tuple(Item(i.item_id, i.label, tuple(i.attributes)) for i in self.items)
        relations = tuple(Relation(r.item1, r.relation, r.item2) for r in self.relations)
        others = tuple(dict.fromkeys(one.requirement() for one in self.requirements))
        return SceneGraph(self.img_id, number_repeated_names(items), relations, others)


class RecordReader:
    """Takes records one by one, keeps those that can be used, and counts the others by reason.

    Args:
        source: what they are called in messages.
        kinds: what is required of a picture, see `scenes.records.from_items`.
    """

    def __init__(self, source: str, kinds: Kinds = RELATIONS) -> None:
        self.report = LoadReport(source)
        self._store = GraphStore(kinds)
        self._ids: set[str] = set()

    def take(self, where: str, raw: Any, problem: str | None = None, split: int = -1) -> None:
        """Take one record, as JSON gives it or as a scene graph.

        Args:
            where: says which one it is.
            problem: why it could not be read.
            split: the published split of records that name none, by its place in SPLITS; -1 where there is none.
        """
        if problem is not None:
            self.report.leave(problem, where)
            return
        try:
            record, split = self._checked(where, raw, split)
            if record.img_id in self._ids:
                raise UnusableRecord(where, "an img_id that occurred before", f"img_id {_shown(record.img_id)}")
            if clash := self._clash(record):
                what = f"img_id {_shown(record.img_id)}, {clash}"
                raise UnusableRecord(where, "relations that cannot all hold", what)
        except UnusableRecord as error:
            self.report.leave(error.reason, str(error))
            return
        self._ids.add(record.img_id)
        self._store.add(record, split)
        self.report.kept += 1
        self.report.without_relations += not self._store.relations[-1]

    def _checked(self, where: str, raw: Any, split: int) -> tuple[PackedRecord | SceneGraph, int]:
        """A record of which only its `img_id` and the sense of its relations are left to check, and its split.

        Raises:
            UnusableRecord: as `read_record`, or nothing is required of its picture.
        """
        named = raw.get("split") if isinstance(raw, dict) else None
        record: PackedRecord | SceneGraph | None = raw if isinstance(raw, SceneGraph) else None
        if record is None and (named is None or (isinstance(named, str) and named in PLACES)):
            record = self._store.packed(raw)
        if record is None:
            record = read_record(raw, where)
        if not self._requires(record):
            reason = "no relations" if self._store.kinds == RELATIONS else "none of the requirements asked for"
            raise UnusableRecord(where, reason, f"img_id {_shown(record.img_id)}")
        return record, split if named is None else PLACES[named]

    def _requires(self, record: PackedRecord | SceneGraph) -> bool:
        """Whether anything is required of the picture of a record."""
        if record.requirements and "relations" in self._store.kinds:
            return True
        if self._store.kinds == RELATIONS:
            return False
        graph = self._store.unpacked(record.img_id, record.codes) if isinstance(record, PackedRecord) else record
        return bool(required(graph, self._store.kinds).requirements)

    def _clash(self, record: PackedRecord | SceneGraph) -> str:
        """Why the relations of a record cannot all hold; empty where they can."""
        if isinstance(record, PackedRecord):
            if not record.contradicts:
                return ""
            record = self._store.unpacked(record.img_id, record.codes)
        return next(iter(contradictions(record)), "")

    def finish(self) -> tuple[Graphs, LoadReport]:
        """The scene graphs of the records that can be used, in the order in which they came, and what became of all.

        Raises:
            RecordError: none can be used.
        """
        if not self.report.kept:
            raise RecordError(
                f"{self.report.source} has no record that can be used"
                + "".join(f"\n  {note}" for note in self.report.notes or ["it holds no records at all"])
            )
        return Graphs(self._store), self.report


def load_records(path: Path, kinds: Kinds = RELATIONS) -> tuple[Graphs, LoadReport]:
    """Read LAION-SG records: of a file, or of the files of a folder, each of which is a part of the split in its name.

    Args:
        kinds: what is required of a picture, see `scenes.records.from_items`.

    Returns:
        The scene graphs of all records that can be used, in their order, and why the others cannot. Of records with the
        same `img_id` the first counts, that of the training split before others. Items of one record that read the same
        are told apart by numbers. Names are as `plain_text` makes them.

    Raises:
        FileNotFoundError: nothing at `path`.
        RecordError: an array that is broken JSON, or no record that can be used.
    """
    path = Path(path)
    reader = RecordReader(str(path), kinds)
    files, reader.report.remarks = _files(path)
    for file, split in files:
        prefix = "" if file == path else f"{file.name}, "
        for where, raw, problem in raw_records(file):
            reader.take(prefix + where, raw, problem, split)
    return reader.finish()


def _files(path: Path) -> tuple[list[tuple[Path, int]], list[str]]:
    """The files to read with their split, and what is odd about them."""
    if path.is_file():
        return [(path, -1)], []
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: there is no such file; give a JSON array or JSON Lines of LAION-SG records")
    found = sorted(file for file in path.iterdir() if file.suffix in (".json", ".jsonl") and file.is_file())
    if not found:
        raise RecordError(f"{path}: the folder has no .json or .jsonl files; give one with LAION-SG records")
    splits = [(file, place) for file in found if (place := place_of_file(file)) is not None]
    if not splits:
        what = "no name of a file says its split (train, validation, test), so a hash divides what records do not say"
        return [(file, -1) for file in found], [what]
    named = {file for file, _ in splits}
    unread = ", ".join(file.name for file in found if file not in named)
    what = f"{unread} not read, as no split (train, validation, test) is in the name"
    return sorted(splits, key=lambda one: one[1]), [what] if unread else []


def read_record(raw: Any, where: str) -> SceneGraph:
    """The scene graph of one parsed record.

    Args:
        where: opens the message of an error.

    Raises:
        UnusableRecord: a field that is missing, of the wrong type or without anything to see, no items, or a relation
            that refers to an item that is not there.
    """
    if not isinstance(raw, dict):
        what = f"is {_shown(raw)}; a record is an object with 'img_id', 'items' and 'relations'"
        raise UnusableRecord(where, "not an object", what)
    try:
        return _Record.model_validate(raw).graph()
    except ValidationError as error:
        raise UnusableRecord(where, *_explained(error)) from error
    except UnusableGraph as error:
        raise UnusableRecord(where, error.reason, str(error)) from error


def _explained(error: ValidationError) -> tuple[str, str]:
    """The first problem that pydantic found: what to count it by, and with field, value and remedy."""
    first = error.errors(include_url=False)[0]
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]]
    field = "".join(parts).lstrip(".")
    any_field = re.sub(r"\[\d+\]", "[]", field)
    others = f" ({error.error_count() - 1} more problems in this record)" if error.error_count() > 1 else ""
    if first["type"] == "missing":
        return f"no field '{any_field}'", f"field '{field}' is missing; add it as LAION-SG publishes it{others}"
    value = f"field '{field}' is {_shown(first['input'])}"
    if first["type"] in ("string_too_short", "string_pattern_mismatch"):
        return f"field '{any_field}' is blank", f"{value}; it needs at least one word{others}"
    if (meaning := _INVISIBLE.get(first["type"])) is not None:
        return f"field '{any_field}': {meaning}", f"{value}; {meaning}{others}"
    expected = first["msg"].removeprefix("Input should be ").removesuffix(" type")
    return f"field '{any_field}' is not {expected}", f"{value}; give {expected}{others}"


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
