"""Damages of a run's folder, drawn at random: what a cut-off disk, a foreign version or somebody's malice leaves."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HOSTILE_TEXTS = (
    "",
    "\ud800",
    "\x1b[31mred\x1b]0;title\x07",
    "[bold]markup[/] [link=x]",
    "<script>alert(1)</script>",
    "\u202eabc",
    "after_²",
    "x" * 50_000,
    "a\nb\r\0c",
    "../../etc/passwd",
)
JSON_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**400,
    10**18,
    1e308,
    -1e308,
    5e-324,
    float("nan"),
    float("inf"),
    [],
    {},
    [[[[1]]]],
    {"a": {"b": {"c": "d"}}},
    list(range(3000)),
    {str(k): k for k in range(3000)},
    *HOSTILE_TEXTS,
)
YAML_TEXTS = (
    "seed: !!int ''",
    "a: &a [*a]",
    "[" * 2000,
    "a: !!python/object/apply:os.system [x]",
    "a: 2001-99-99",
    "a: " + "9" * 6000,
    "stages: {a: 1}",
    "stages: [{stage: [], updates: .inf}, 3]",
    "\0",
    "models: {actor: [1]}\nsync: 3\nrollout: []\nevaluation: x",
    "".join(f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9) if k else 'x'}]\n" for k in range(9)),
    "<<: 3",
    "? [1, 2]\n: 3",
    f"models: {{actor: {'x' * 5000}}}",
)
JSON_FILES = ("metrics.jsonl", "summary.json", "progress.json")


def damage(run: Path, seed: int) -> str:
    """Damage a folder in one to three ways that `seed` draws; what was done."""
    rng = random.Random(seed)
    ways: tuple[Callable[[random.Random, Path], str], ...] = (
        _bytes,
        _json,
        _json,
        _json,
        _parquet,
        _parquet,
        _yaml,
        _delete,
    )
    return "; ".join(rng.choice(ways)(rng, run) for _ in range(rng.randint(1, 3)))


def _file(rng: random.Random, run: Path, *patterns: str) -> Path | None:
    found = sorted(path for pattern in patterns for path in run.glob(pattern) if path.is_file())
    return rng.choice(found) if found else None


def _bytes(rng: random.Random, run: Path) -> str:
    """Cut a file off, turn bytes of it over, or put something else in its place."""
    file = _file(rng, run, "*.*", "*/*.parquet", "models/*/*.json", "episodes/*/*/*")
    if file is None:
        return "nothing"
    content = bytearray(file.read_bytes())
    way = rng.choice(("cut", "flip", "flip", "noise", "twice", "empty", "folder"))
    if way == "cut":
        content = content[: rng.randrange(len(content) + 1)]
    elif way == "flip":
        for _ in range(rng.choice((1, 3, 30))):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
    elif way == "noise":
        content = bytearray(rng.randbytes(rng.choice((3, 3000))))
    elif way == "twice":
        content = content * 2
    elif way == "empty":
        content = bytearray()
    file.unlink()
    if way == "folder":
        file.mkdir()
    else:
        file.write_bytes(content)
    return f"{way} {file.relative_to(run)}"


def _delete(rng: random.Random, run: Path) -> str:
    file = _file(rng, run, "*.*", "*/*.parquet")
    if file is not None:
        file.unlink()
    return f"delete {file and file.name}"


def _yaml(rng: random.Random, run: Path) -> str:
    text = rng.choice(YAML_TEXTS)
    place = run / "config.yaml"
    if not place.is_dir():
        keep = place.read_text(errors="replace") if place.is_file() and rng.random() < 0.3 else ""
        place.write_text(f"{text}\n{keep}")
    return f"config.yaml: {text[:40]!r}"


def _json(rng: random.Random, run: Path) -> str:
    """Put another value in the place of one anywhere in a file of JSON, or a hostile key beside it."""
    file = _file(rng, run, *JSON_FILES, "episodes/*/*/trace.json")
    if file is None:
        return "nothing"
    lines = (
        file.read_text(errors="replace").splitlines() if file.suffix == ".jsonl" else [file.read_text(errors="replace")]
    )
    if not lines:
        return "nothing"
    number = rng.randrange(len(lines))
    try:
        values = json.loads(lines[number])
    except ValueError:
        return "nothing"
    what = "all of it"
    value = rng.choice(JSON_VALUES)
    if isinstance(values, dict) and values and rng.random() < 0.9:
        place, key = values, rng.choice(list(values))
        while isinstance(place[key], dict) and place[key] and rng.random() < 0.6:
            place, key = place[key], rng.choice(list(place[key]))
        if rng.random() < 0.2:
            key = rng.choice(HOSTILE_TEXTS)
        place[key], what = value, key
    else:
        values = value
    lines[number] = "[" * 20_000 if rng.random() < 0.03 else json.dumps(values)
    file.write_text("\n".join(lines) + ("\n" if file.suffix == ".jsonl" else ""))
    return f"{file.name}, line {number}: {what[:20]!r} = {repr(value)[:30]}"


def _parquet(rng: random.Random, run: Path) -> str:
    """Change a column of a table: missing values, another type, other values, no column; or repeat the rows."""
    file = _file(rng, run, "trajectories/*.parquet", "trajectories/*.parquet", "held_out/*.parquet")
    try:
        table = pq.read_table(file) if file else None
    except (ValueError, OSError):
        table = None
    if table is None or file is None:
        return "nothing"
    name = rng.choice(table.column_names)
    place, column, field = table.column_names.index(name), table[name], table.schema.field(name)
    way = rng.choice(("null", "null", "all null", "type", "value", "value", "drop", "rows", "metadata"))
    rows = column.to_pylist()
    if way in ("null", "all null", "value"):
        hostile = _hostile(rng, field.type)
        for k in range(len(rows)) if way == "all null" else rng.sample(range(len(rows)), min(3, len(rows))):
            rows[k] = hostile if way == "value" else None
        new = field.with_nullable(True)
        schema = table.schema.set(place, new)
        columns = [
            pa.chunked_array([pa.array(rows, field.type)]) if k == place else c for k, c in enumerate(table.columns)
        ]
        table = pa.table(columns, schema=schema)
    elif way == "type":
        table = table.set_column(place, name, pa.array([str(row) for row in rows]))
    elif way == "drop":
        table = table.drop_columns([name])
    elif way == "rows":
        table = pa.concat_tables([table] * 20) if rng.random() < 0.5 else table.slice(0, 0)
    else:
        table = table.replace_schema_metadata({"rlrig.version": rng.choice(("9", "\x1b[31m", ""))})
    pq.write_table(table, file, compression="zstd")
    return f"{file.name}: {way} {name}"


def _hostile(rng: random.Random, kind: pa.DataType) -> Any:
    """A value of this type that a run would not write."""
    if pa.types.is_string(kind):
        return rng.choice([text for text in HOSTILE_TEXTS if text != "\ud800"])
    if pa.types.is_integer(kind):
        return rng.choice((-1, 0, 2**31 - 1, 10**18 if pa.types.is_int64(kind) else 7))
    if pa.types.is_floating(kind):
        return rng.choice((float("nan"), float("inf"), -1e30, 1e308 if pa.types.is_float64(kind) else 3e38, 5e-324))
    if pa.types.is_binary(kind):
        return rng.choice((b"", b"x", b"\x89PNG\r\n\x1a\n", _bomb()))
    if pa.types.is_list(kind):
        return rng.choice(([], [None], [_hostile(rng, kind.value_type)] * 3, [_hostile(rng, kind.value_type)] * 5000))
    if pa.types.is_struct(kind):
        fields = [kind.field(k) for k in range(kind.num_fields)]
        return {one.name: None if one.nullable and rng.random() < 0.3 else _hostile(rng, one.type) for one in fields}
    return True


def _bomb() -> bytes:
    """A PNG of 30,000 × 30,000 pixels, of which only the head is there."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


def copy_of(run: Path, target: Path) -> Path:
    """A folder of the same files, to be damaged."""
    shutil.copytree(run, target, copy_function=shutil.copyfile)
    os.chmod(target, 0o755)
    return target
