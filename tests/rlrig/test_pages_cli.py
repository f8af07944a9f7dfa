from typer.testing import CliRunner

from rlrig.cli import app
from tests.reports.synthetic_run import write_run


def test_the_pages_of_a_run_are_written_and_named(tmp_path):
    write_run(tmp_path / "run", updates=2)
    result = CliRunner().invoke(
        app, ["pages", str(tmp_path / "run"), "--out", str(tmp_path / "site"), "--updates", "1"]
    )
    assert result.exit_code == 0
    assert result.stdout.strip() == str(tmp_path / "site" / "index.html")
    assert sorted(path.name for path in (tmp_path / "site").glob("groups-*")) == [
        "groups-00001.html",
        "groups-00003.html",
    ]


def test_without_out_they_lie_in_the_run(tmp_path):
    write_run(tmp_path / "run", updates=1, prompts=1)
    assert CliRunner().invoke(app, ["pages", str(tmp_path / "run")]).exit_code == 0
    assert (tmp_path / "run" / "pages" / "studio.html").is_file()


def test_a_folder_that_is_no_run_is_bad_input(tmp_path):
    result = CliRunner().invoke(app, ["pages", str(tmp_path)])
    assert result.exit_code == 2
    assert "RUN" in result.stderr
