"""The table of results: README's command makes the page again from the rows that are kept."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from rlrig.cli import app
from tests.places import ROOT


def test_the_rows_that_are_kept_belong_to_todays_settings_and_give_the_page_again(tmp_path: Path) -> None:
    rows = str(ROOT / "docs" / "results-rows")
    done = CliRunner().invoke(app, ["results", "--rows", rows, "--no-train", "--docs", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "results.md").read_bytes() == (ROOT / "docs" / "results.md").read_bytes()
