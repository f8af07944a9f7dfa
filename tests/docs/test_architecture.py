"""The architecture page and its diagram name the folders and files that are there."""

from __future__ import annotations

import re

import pytest

from rlrig.house import rooms, with_rooms
from tests.docs.pages import DOCS, ROOT
from tests.rooms import ROOMS

PAGE = (DOCS / "architecture.md").read_text()
DIAGRAM = (DOCS / "pictures" / "architecture.svg").read_text()


def test_the_tables_of_rooms_and_files_are_those_of_the_code() -> None:
    """`python -m rlrig.reference --write` makes them so."""
    assert with_rooms(PAGE, ROOT) == PAGE
    assert rooms(ROOT) == list(ROOMS)
    listed = re.findall(r"^\| `([\w/]+)/` \|", PAGE, re.MULTILINE)
    assert [name for name in listed if "/" not in name] == list(ROOMS)
    files = re.findall(r"^\| \[`([\w/.]+)`\]", PAGE, re.MULTILINE)
    assert "rollout/scheduling/scheduler.py" in files
    assert len(files) > 200


def test_a_file_that_does_not_say_what_it_is_is_refused(tmp_path) -> None:
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.importlinter.contracts]]\nid = "rooms"\nlayers = ["scenes"]\n', encoding="utf-8"
    )
    with pytest.raises(ValueError, match=r"scenes/__init__\.py: has no docstring"):
        with_rooms(PAGE, tmp_path)


def test_every_file_that_page_and_diagram_name_is_there() -> None:
    paths = re.findall(r"`((?:\w+/)+[\w.]*)`", PAGE) + re.findall(r"\b((?:" + "|".join(ROOMS) + r")/[\w./]*)", DIAGRAM)
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_diagram_has_the_parts_that_the_page_goes_through() -> None:
    for part in ("Diffuser", "Checker", "Actor", "Inverse Diffuser", "EnvRunners", "Learner", "Weights", "Run folder"):
        assert f">{part}" in DIAGRAM
