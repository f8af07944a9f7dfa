"""Reference pages that are made from the code: `docs/configuration.md`, and tables of two other pages.

`python -m rlrig.reference` prints the configuration reference; with `--write`, it writes it, the columns in
`docs/trajectories.md` and the rooms and files in `docs/architecture.md`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from annotated_types import Ge, Gt, Le, Lt, MinLen, MultipleOf
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from presets.errors import BadInput
from presets.mistakes import section_of
from presets.places import BASE, checkout
from presets.run_config import DERIVED, RunConfig
from reports.held_out import HELD_OUT_SCHEMA
from reports.number import NUMBERS_SCHEMA
from rlrig.house import with_rooms
from rlrig.page_parts import with_part
from rollout.trajectory import SCHEMA
from scenes.section import OrOwn
from scenes.whole_file import whole_file
from studio.config import GatewayConfig

DOCS = BASE / "docs"
TABLES = {"trajectory": SCHEMA, "held_out": HELD_OUT_SCHEMA, "report": NUMBERS_SCHEMA}
_BOUNDS = {
    Ge: ("ge", "≥"),
    Gt: ("gt", ">"),
    Le: ("le", "≤"),
    Lt: ("lt", "<"),
    MultipleOf: ("multiple_of", "multiple of"),
}
_INTRODUCTION = """\
# Configuration

The keys of a run file, as `presets/tiny/run.yaml` is one. `--set KEY=VALUE` sets one of them on the command line, for
example `--set rollout.group_size=6`. A key that is unknown, of a wrong type or out of its range is refused by name
before anything starts. *needed* marks a key that has no default; one that *follows* another key is set by that.

This page is made from the types in the code: `python -m rlrig.reference --write` writes it anew.
"""


def configuration_page() -> str:
    """`docs/configuration.md`: a table for each section, from the pydantic types of the run file and of
    the endpoint."""
    parts = [_INTRODUCTION]
    seen: dict[type[BaseModel], str] = {}
    for path, model, given in (*_sections("", RunConfig, None), *_sections("gateway", GatewayConfig, None)):
        parts.append(f"## {f'`{path}`' if path else 'Top level'}\n")
        if path and model.__doc__:
            parts.append(_plain(model.__doc__) + "\n")
        known = next((kind for kind in model.__mro__ if kind in seen), None)
        if known is not None:
            other = _table(seen[known], known, None)
            rows = [row for row in _table(path, model, given).items() if row[1] != other.get(row[0])]
            same = f"Keys as in [`{seen[known]}`](#{_anchor(seen[known])})"
            parts.append(same + (", but:\n" if rows else ".\n"))
        else:
            rows = list(_table(path, model, given).items())
            seen[model] = path
        if rows:
            parts.append("| key | type | default | range | meaning |\n| --- | --- | --- | --- | --- |")
            parts.append("\n".join(f"| `{key}` | {' | '.join(cells)} |" for key, cells in rows) + "\n")
    return "\n".join(parts).rstrip("\n") + "\n"


def _sections(path: str, model: type[BaseModel], given: Any) -> Iterator[tuple[str, type[BaseModel], Any]]:
    """A section and those below it: dotted path, type, and the object that is the default, where there is one."""
    yield path, model, given
    for name, field in model.model_fields.items():
        if (inner := section_of(field.annotation)) is not None:
            default = getattr(given, name) if given is not None else field.get_default(call_default_factory=True)
            listed = get_origin(field.annotation) is list
            below = f"{path}.{name}" if path else name
            yield from _sections(f"{below}[]" if listed else below, inner, default if _is_section(default) else None)


def _is_section(value: Any) -> bool:
    return isinstance(value, BaseModel)


def _table(path: str, model: type[BaseModel], given: Any) -> dict[str, tuple[str, str, str, str]]:
    """By key: type, default, range, meaning. Sections have tables of their own and are left out, but for lists."""
    rows = {}
    for name, field in model.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None and get_origin(field.annotation) is not list and _optional(field.annotation) is None:
            continue
        default = getattr(given, name) if given is not None else field.get_default(call_default_factory=True)
        key = f"{path}.{name}".lstrip(".")
        told = f"*follows* `{DERIVED[key]}`" if key in DERIVED else _value(default)
        marks = [mark for mark in field.metadata if isinstance(mark, OrOwn)]
        kind = _kind(Annotated[field.annotation, marks[0]] if marks else field.annotation)
        rows[name] = (kind, told, _range(field), _plain(field.description or ""))
    return rows


def _value(value: Any) -> str:
    if value is PydanticUndefined:
        return "*needed*"
    if isinstance(value, BaseModel) or (isinstance(value, list) and any(map(_is_section, value))):
        return "see below"
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return f"`{text.strip(chr(34)) or chr(34) * 2}`"


def _optional(annotation: Any) -> Any:
    """What may be there instead of null; None where null is not allowed."""
    if get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation):
        return Union[tuple(arg for arg in get_args(annotation) if arg is not NoneType)]  # noqa: UP007
    return None


def _kind(annotation: Any) -> str:
    """A type in words that a writer of YAML knows."""
    if (inner := _optional(annotation)) is not None:
        return f"{_kind(inner)} or null"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        own = next((mark for mark in args[1:] if isinstance(mark, OrOwn)), None)
        return _kind(args[0]) if own is None else " \\| ".join(f"`{name}`" for name in (*own.names, "module:name"))
    if origin is Literal:
        return " \\| ".join(f"`{option}`" for option in args)
    if origin in (Union, UnionType):
        return " or ".join(_kind(arg) for arg in args)
    if origin is list or (origin is tuple and args[-1] is Ellipsis):
        return f"list of {_kind(args[0])}"
    if origin is tuple:
        return f"{len(args)} × {_kind(args[0])}"
    if origin is dict or annotation is dict:
        return "mapping"
    if section_of(annotation) is not None:
        return "section"
    return {int: "whole number", float: "number", str: "text", bool: "true or false"}[annotation]


def _range(field: FieldInfo) -> str:
    """Its bounds, as `≥ 1, ≤ 5`."""
    found = [
        f"{sign} {getattr(bound, name):g}"
        for bound in field.metadata
        for kind, (name, sign) in _BOUNDS.items()
        if isinstance(bound, kind)
    ]
    found += [f"at least {bound.min_length}" for bound in field.metadata if isinstance(bound, MinLen)]
    return ", ".join(found)


def _plain(text: str) -> str:
    """A docstring's first paragraph on one line, as a cell of a table can hold it."""
    return " ".join(text.strip().split("\n\n")[0].split()).replace("|", "\\|")


def _anchor(path: str) -> str:
    return path.replace(".", "").replace("[]", "")


def schema_table(schema: pa.Schema) -> str:
    """A table of columns in Markdown: name, type, whether it may be null, meaning (the field's metadata `doc`)."""
    version = (schema.metadata or {})[b"rlrig.version"].decode()
    rows = [f"Version {version}.", "", "| column | type | null | meaning |", "| --- | --- | --- | --- |"]
    for field in schema:
        rows.append(_row(field, ""))
        if pa.types.is_struct(field.type):
            rows += [_row(inner, f"{field.name}.") for inner in field.type]
    return "\n".join(rows)


def _row(field: pa.Field, prefix: str) -> str:
    kind = str(field.type).replace("element: ", "").replace("item: ", "")
    doc = (field.metadata or {}).get(b"doc", b"").decode()
    short = "struct" if pa.types.is_struct(field.type) else kind
    return f"| `{prefix}{field.name}` | {short} | {'yes' if field.nullable else ''} | {_plain(doc)} |"


def with_tables(page: str) -> str:
    """The text of `docs/trajectories.md` with the tables that stand between its marks made anew.

    Raises:
        ValueError: a mark is missing.
    """
    for name, schema in TABLES.items():
        page = with_part(page, f"table {name}", schema_table(schema))
    return page


def write_pages(docs: Path = DOCS) -> list[Path]:
    """Write the pages into `docs`; their paths."""
    pages = {
        "configuration.md": configuration_page(),
        "trajectories.md": with_tables((docs / "trajectories.md").read_text(encoding="utf-8")),
        "architecture.md": with_rooms((docs / "architecture.md").read_text(encoding="utf-8"), BASE),
    }
    for name, text in pages.items():
        with whole_file(docs / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return [docs / name for name in pages]


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        try:
            print("\n".join(map(str, write_pages(checkout("docs")))))
        except BadInput as error:
            sys.exit(str(error))
    elif sys.argv[1:]:
        sys.exit(f"python -m rlrig.reference [--write]: {sys.argv[1:]} is not known")
    else:
        print(configuration_page(), end="")
