"""Records are read one after the other wherever the parts that are read happen to end."""

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes import record_file
from scenes.record_file import BROKEN, NO_UTF8, TOO_LONG, RecordError, raw_records

VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\{[', max_size=3), inner, max_size=3),
    max_leaves=8,
)


def read(file: Path) -> list[tuple[str, Any, str | None]]:
    return list(raw_records(file))


@given(st.lists(VALUES, max_size=6), st.integers(1, 9), st.sampled_from([None, 1]), st.booleans(), st.booleans())
def test_an_array_is_read_alike_in_parts_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], chunk: int, indent: int | None, plain: bool, mark: bool
) -> None:
    file = tmp_path_factory.getbasetemp() / "values.json"
    text = json.dumps(values, indent=indent, ensure_ascii=not plain)
    file.write_bytes((codecs.BOM_UTF8 if mark else b"") + b" \n" + text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_file, "_CHUNK", chunk)
        assert read(file) == [(f"record {k}", value, None) for k, value in enumerate(values)]


@given(st.lists(VALUES, min_size=1, max_size=5), st.integers(1, 9), st.data())
def test_a_cut_array_is_refused_in_parts_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], chunk: int, data: st.DataObject
) -> None:
    file = tmp_path_factory.getbasetemp() / "cut.json"
    text = json.dumps(values)
    file.write_text(text[: data.draw(st.integers(1, len(text) - 1))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_file, "_CHUNK", chunk)
        with pytest.raises(RecordError, match=r"line 1, column \d+: broken JSON"):
            read(file)


def test_lines_are_told_by_their_number_and_each_fault_costs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_file, "_LONGEST", 64)
    file = tmp_path / "lines.jsonl"
    lines = [b"", b'{"a": 1}', b"{a}", b'"\xe9"', b'"' + b"x" * 200 + b'"', b"2 3", b'"' + b"x" * 60 + b'"', b"7"]
    file.write_bytes(b"\r\n".join(lines))
    assert read(file) == [
        ("line 2", {"a": 1}, None),
        ("line 3", None, BROKEN),
        ("line 4", None, NO_UTF8),
        ("line 5", None, TOO_LONG),
        ("line 6", None, BROKEN),
        ("line 7", "x" * 60, None),
        ("line 8", 7, None),
    ]


def test_bytes_that_are_not_utf8_cost_the_record_that_they_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_file, "_CHUNK", 7)
    file = tmp_path / "latin.json"
    file.write_bytes('["\u00e9", "caf'.encode() + b'\xe9", "\xc3", "plain"]')
    assert [(where, problem) for where, _, problem in read(file)] == [
        ("record 0", None),
        ("record 1", NO_UTF8),
        ("record 2", NO_UTF8),
        ("record 3", None),
    ]


def test_a_record_that_never_ends_is_given_up_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_file, "_CHUNK", 100)
    monkeypatch.setattr(record_file, "_LONGEST", 1000)
    file = tmp_path / "endless.json"
    file.write_text('[1,\n 2, "' + "x" * 100_000)
    with pytest.raises(RecordError, match=r"line 2, column 5: broken JSON \(or a record longer than .*after 2 records"):
        read(file)


def test_a_place_far_in_the_file_is_told_with_its_line_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_file, "_CHUNK", 16)
    file = tmp_path / "long.json"
    file.write_text("[" + ",\n".join(f'{{"number": {k}}}' for k in range(100)) + ",\n   oops]")
    with pytest.raises(RecordError, match=r"line 101, column 4: broken JSON, expecting value near .*after 100 records"):
        read(file)
