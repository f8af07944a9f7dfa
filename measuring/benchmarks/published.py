"""Prompt files of benchmarks, in the forms in which they are published.

- GenEval (djghosh13/geneval, `prompts/evaluation_metadata.jsonl`): a JSON object a line.
- T2I-CompBench (Karine-Huang/T2I-CompBench, `examples/dataset/spatial_val.txt`): a prompt a line.
- VISOR (microsoft/VISOR, `text_spatial_rel_phrases.json`): a JSON array of objects.
- LAION-SG (mengcye/LAION-SG): records of scene graphs, see `scenes.laion_sg`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from measuring.benchmarks.task import Task, WordedGraph, related
from presets.errors import BadInput
from scenes.laion_sg import load_records
from scenes.plain_text import plain_text
from scenes.scene_graph import Item, Relation, SceneGraph, UnusableGraph, number_repeated_names

LARGEST_FILE = 256 << 20
MOST_TASKS = 100_000
LOCALITIES = ("on the left of", "on the right of", "on the top of", "on top of", "on the bottom of", "on side of",
              "next to", "near")  # fmt: skip
"""T2I-CompBench's words for relations, longer ones before those within them."""
SPATIAL = ("to the left of", "to the right of", "above", "below")
"""VISOR's relations; its prompts with `and`, and those of one object, ask for none."""

_SENTENCE = re.compile(rf"(?:an? |the )?(.+?) ({'|'.join(LOCALITIES)}) (?:an? |the )?(.+)", re.IGNORECASE)
_NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9 ,.'-]|^\.|^.{151}")
_Text = Annotated[str, Field(min_length=1, max_length=2000)]
_Side = Annotated[list[str | None], Field(min_length=1, max_length=8)]
_Model = TypeVar("_Model", bound=BaseModel)


class _Clause(BaseModel):
    model_config = ConfigDict(strict=True, populate_by_name=True)
    name: Annotated[_Text, Field(alias="class")]
    count: Annotated[int, Field(ge=1, le=100)]
    color: _Text | None = None
    position: tuple[str, int] | None = Field(None, strict=False)


class _GenEval(BaseModel):
    model_config = ConfigDict(strict=True)
    tag: _Text
    include: Annotated[list[_Clause], Field(min_length=1, max_length=16)]
    exclude: Annotated[list[_Clause], Field(max_length=16)] = []
    prompt: _Text


class _Visor(BaseModel):
    model_config = ConfigDict(strict=True)
    unique_id: Annotated[int, Field(ge=0)]
    num_objects: Annotated[int, Field(ge=1, le=2)]
    obj_1_attributes: _Side
    obj_2_attributes: _Side
    rel_type: _Text
    text: _Text


def read_geneval(path: Path) -> list[Task]:
    """GenEval's prompts. Raises as `read_lines`; BadInput for a line that is none."""
    tasks = []
    for number, line in enumerate(_lines(path)):
        place = f"{path}, line {number + 1}"
        record = _json(line, place)
        checked = _checked(_GenEval, record, place)
        for index, clause in enumerate(checked.include):
            if clause.position is not None and not 0 <= clause.position[1] < index:
                raise BadInput(
                    f"{place}: include.{index}.position: {list(clause.position)} is refused: it is relative to one of "
                    "the objects before it, by its place from 0"
                )
        tasks.append(Task(f"{number:05}", checked.prompt, _geneval_graph(f"{number:05}", checked), record))
    return tasks


def _geneval_graph(key: str, record: _GenEval) -> SceneGraph | None:
    relations = tuple(
        Relation(k, clause.position[0], clause.position[1])
        for k, clause in enumerate(record.include)
        if clause.position is not None
    )
    if not relations:
        return None
    items = tuple(
        Item(k, clause.name, () if clause.color is None else (clause.color,)) for k, clause in enumerate(record.include)
    )
    return WordedGraph(key, number_repeated_names(items), relations, words=record.prompt)


def read_t2i_spatial(path: Path) -> list[Task]:
    """T2I-CompBench's 2D-spatial prompts: an object, one of `LOCALITIES`, another object.

    Raises:
        BadInput: the file cannot be read, or a line is no such sentence.
    """
    tasks = []
    for number, line in enumerate(_lines(path)):
        text = plain_text(line.split("\t")[0])  # as published code reads them: what follows a tab is no prompt
        found = _SENTENCE.fullmatch(text)
        if _NOT_IN_FILE_NAMES.search(text):
            raise BadInput(
                f"{path}, line {number + 1}: {text[:80]!r} is refused: T2I-CompBench names pictures by their prompts; "
                "use letters, digits, spaces, commas, dots, apostrophes and hyphens, 150 at most"
            )
        if found is None:
            raise BadInput(
                f"{path}, line {number + 1}: {text[:80]!r} is refused: it is not of the form `a cat on the left of a "
                f"dog`; the relations are {', '.join(LOCALITIES)}"
            )
        subject, predicate, other = found.groups()
        key = f"{number:05}"
        record = {"subject": subject, "locality": predicate.lower(), "object": other}
        tasks.append(Task(key, text, related(key, text, subject, predicate.lower(), other), record))
    return tasks


def read_visor(path: Path) -> list[Task]:
    """VISOR's prompts that ask for a relation between two objects.

    Raises:
        BadInput: the file cannot be read, or an entry is none.
    """
    entries = _json(_text(path), str(path))
    if not isinstance(entries, list) or len(entries) > MOST_TASKS:
        raise BadInput(f"{path}: is refused: give a JSON array of at most {MOST_TASKS} entries, as VISOR publishes it")
    tasks = []
    for number, record in enumerate(entries):
        place = f"{path}, entry {number}"
        checked = _checked(_Visor, record, place)
        first, second = checked.obj_1_attributes[0], checked.obj_2_attributes[0]
        if checked.rel_type not in SPATIAL or checked.num_objects != 2 or first is None or second is None:
            continue
        key = str(checked.unique_id)
        try:
            graph = related(key, checked.text, first, checked.rel_type, second)
        except UnusableGraph as error:
            raise BadInput(f"{place}: {error}") from error
        tasks.append(Task(key, checked.text, graph, record))
    if len({task.key for task in tasks}) < len(tasks):
        raise BadInput(f"{path}: is refused: two entries have the same unique_id")
    return tasks


def read_laion_sg(path: Path) -> list[Task]:
    """Records of LAION-SG, drawn by the prompts that it builds from its triples.

    Raises:
        BadInput: the file cannot be read, or none of its records asks for a picture.
    """
    try:
        graphs, _ = load_records(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}") from error
    return [Task(_name(graph.img_id), graph.prompt, graph) for graph in islice(graphs, MOST_TASKS)]


def _name(img_id: str) -> str:
    """An id as the name of a file, which it need not be."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", img_id):
        return img_id
    raise BadInput(
        f"img_id {img_id[:80]!r} is refused: pictures are named by it; use letters, digits, dots and hyphens"
    )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadInput(f"{path}: is refused: it is larger than {LARGEST_FILE >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}; give the prompt file that the benchmark publishes") from error


def _lines(path: Path) -> Iterator[str]:
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if not lines or len(lines) > MOST_TASKS:
        raise BadInput(f"{path}: is refused: it has {len(lines)} lines; give from 1 to {MOST_TASKS} prompts")
    yield from lines


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{place}: is refused: no JSON: {error}") from error


def _checked(kind: type[_Model], record: Any, place: str) -> _Model:
    try:
        return kind.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the entry"
        raise BadInput(f"{place}: {key}: {str(first['input'])[:80]!r} is refused: {first['msg']}") from error
