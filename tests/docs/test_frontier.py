"""The frontier: the rows that are kept give the page again."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from experiments.frontier.__main__ import app
from tests.places import ROOT


def test_the_rows_that_are_kept_give_the_page_again(tmp_path: Path) -> None:
    page = ROOT / "docs" / "frontier"
    done = CliRunner().invoke(app, ["--rows", str(page / "rows"), "--no-measure", "--docs", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (page / made.name).read_bytes(), made.name
