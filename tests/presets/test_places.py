"""Presets are found from any folder, and what only a checkout has is asked for with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets import places
from presets.errors import BadInput
from presets.places import JUDGE, TINY, checkout, preset_at, preset_names
from tests.places import ROOT


def test_every_preset_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = preset_names()
    assert {str(TINY), "presets/cluster.yaml", "presets/qwen-image-edit.yaml"} <= set(names)
    for name in names:
        assert preset_at(Path(name)) == ROOT / name
    assert (JUDGE / "config.json").is_file()


def test_what_lies_in_the_working_folder_counts_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / TINY).parent.mkdir(parents=True)
    (tmp_path / TINY).touch()
    assert preset_at(TINY) == TINY


@pytest.mark.parametrize("name", ["presets/none.yaml", "presets/../pyproject.toml", "run.yaml"])
def test_nothing_else_is_looked_for_beside_the_code(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert preset_at(Path(name)) == Path(name)


def test_a_folder_of_the_checkout_is_refused_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkout("docs") == ROOT / "docs"
    monkeypatch.setattr(places, "BASE", tmp_path)
    (tmp_path / "docs").mkdir()
    with pytest.raises(BadInput, match="in a checkout"):
        checkout("docs")
