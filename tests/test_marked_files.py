"""Files are left out of a run only where no test in them belongs to it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.marked_files import has_none
from tests.places import ROOT

FILES = sorted((ROOT / "tests").rglob("test_*.py"))
SOME = "import pytest\n\n\n@pytest.mark.engines\ndef test_a():\n    pass\n\n\ndef test_b():\n    pass\n"


def names_engines(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "engines" for node in ast.walk(tree))


def all_engines(tree: ast.Module) -> bool:
    """Whether the file's own `pytestmark` marks all of its tests."""
    marks = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["pytestmark"]
    ]
    return any(names_engines(one) for one in marks)


@pytest.mark.parametrize("expression", ["engines", "engines and not long"])
def test_a_run_of_the_engines_imports_every_file_that_names_the_marker(expression: str) -> None:
    left_out = {file for file in FILES if has_none(file, expression)}
    assert len(left_out) > len(FILES) / 2
    assert [str(file) for file in left_out if names_engines(ast.parse(file.read_text()))] == []


@pytest.mark.parametrize("expression", ["not engines", "not engines and not long"])
def test_a_run_without_the_engines_leaves_out_just_the_files_that_are_marked_whole(expression: str) -> None:
    left_out = {file for file in FILES if has_none(file, expression)}
    assert len(left_out) > 30
    assert left_out == {file for file in FILES if all_engines(ast.parse(file.read_text()))}


@pytest.mark.parametrize("expression", ["", "gpu", "engines or long", "not long", "not (engines and long)"])
def test_a_run_by_other_markers_imports_all(expression: str) -> None:
    assert not any(has_none(file, expression) for file in FILES)


def test_a_file_with_tests_of_both_kinds_belongs_to_both_runs(tmp_path: Path) -> None:
    file = tmp_path / "test_some.py"
    file.write_text(SOME)
    assert not has_none(file, "engines")
    assert not has_none(file, "not engines")
