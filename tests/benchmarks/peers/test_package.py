import pytest
import typer
from typer.testing import CliRunner

from benchmarks.peers.__main__ import main
from benchmarks.peers.package import TRL, trl_folder
from presets.errors import BadInput


@pytest.fixture
def no_registry(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def test_what_was_installed_once_is_used_again_without_a_registry(tmp_path, no_registry):
    folder = tmp_path / f"trl-{TRL}"
    folder.mkdir()
    assert trl_folder(tmp_path) == folder


def test_where_pip_finds_no_trl_it_is_refused_by_name_and_nothing_is_left(tmp_path, no_registry):
    with pytest.raises(BadInput, match=rf"TRL {TRL}: pip cannot install it.*--policy editor"):
        trl_folder(tmp_path / "cache")
    assert not (tmp_path / "cache" / f"trl-{TRL}").exists()


def test_the_command_says_so_before_anything_starts(tmp_path, no_registry):
    app = typer.Typer()
    app.command()(main)
    out = tmp_path / "peers.json"
    result = CliRunner().invoke(app, ["--cache", str(tmp_path / "cache"), "--out", str(out)])
    assert result.exit_code == 2
    assert f"TRL {TRL}" in result.stderr
    assert not out.exists()
