"""The architecture page and its diagram name the folders and files that are there."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "architecture.md").read_text()
DIAGRAM = (DOCS / "architecture.svg").read_text()
ROWS = {
    name.rstrip("/"): allowed
    for name, allowed in re.findall(r"^\| `([\w/]+/)` \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE)
}
TOP = ("actors", "benchmarks", "experiments", "learner", "rollout", "scenes", "serving")


def packages() -> set[str]:
    """Every package of the repository, as a path."""
    found = (path.parent for name in TOP for path in (ROOT / name).rglob("__init__.py"))
    return {str(folder.relative_to(ROOT)) for folder in found}


def test_every_package_has_its_row_and_every_row_its_package() -> None:
    assert set(ROWS) == packages()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {name.replace(".", "/") for name in settings["tool"]["setuptools"]["packages"]} == packages()


def test_every_file_that_page_and_diagram_name_is_there() -> None:
    paths = re.findall(r"`((?:\w+/)+[\w.]*)`", PAGE) + re.findall(r"\b((?:" + "|".join(TOP) + r")/[\w./]*)", DIAGRAM)
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_diagram_has_the_parts_that_the_page_goes_through() -> None:
    for part in ("Diffuser", "Checker", "Actor", "Inverse Diffuser", "EnvRunners", "Learner", "Weights", "Run folder"):
        assert f">{part}" in DIAGRAM


def imported_by(package: str) -> set[str]:
    """The top folders, but for its own, that the files of a package (not those of its subpackages) import from."""
    modules = [
        node.module
        for file in (ROOT / package).glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    return {module.split(".")[0] for module in modules} & set(TOP) - {package.split("/")[0]}


@pytest.mark.parametrize("package", [name for name, allowed in ROWS.items() if allowed[:3] not in ("all", "any")])
def test_a_package_imports_no_more_than_the_page_says(package: str) -> None:
    assert imported_by(package) <= set(re.findall(r"`(\w+)/`", ROWS[package]))


def test_what_a_package_imports_is_found() -> None:
    assert imported_by("scenes") == set()
    assert imported_by("actors") == {"learner", "scenes"}
