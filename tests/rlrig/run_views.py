"""Every view of a run: its report, status, pages as files, and the pages of the service."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from presets.errors import BadInput, RunFailed
from reports.reading.table import DamagedFile
from reports.report import write_report
from reports.status.page import run_page as status_page
from rlrig.status_cli import run_in
from studio.pages.group_filter import GroupFilter
from studio.pages.group_view import group_page
from studio.pages.links import ServedLinks
from studio.pages.rendering import groups_fragment, render
from studio.pages.run_index import NotThere, RunsFolder
from studio.pages.run_view import run_page
from studio.pages.static_site import write_pages
from studio.pages.trajectory_view import trajectory_page

LINKS = ServedLinks()
REFUSALS = (BadInput, RunFailed, NotThere, DamagedFile)
"""What a command or the service turns into one line with its exit code or status."""


def views(run: Path, out: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Names of the views of a folder and what makes their text."""
    folder, name = RunsFolder(run.parent), run.name
    yield "report", lambda: write_report([str(run)], out / "report").read_text(encoding="utf-8")
    yield "status", lambda: _status(run)
    yield "pages", lambda: write_pages(run, out / "pages").read_text(encoding="utf-8")
    yield "list", lambda: render("runs", list=folder.page(), links=LINKS)
    yield "run", lambda: render("run", run=run_page(folder, name, LINKS), links=LINKS)
    yield "groups", lambda: groups_fragment(group_page(folder, name, None, GroupFilter(), LINKS), LINKS)
    yield "trajectory", lambda: render("trajectory", page=trajectory_page(folder, name, 0, 0, 0, LINKS), links=LINKS)


def seen(make: Callable[[], str]) -> str:
    """The text of a view, or why it is refused; it can be written as UTF-8 and steers no terminal."""
    try:
        text = make()
    except REFUSALS as error:
        text = str(error)
    text.encode()
    return text


def _status(run: Path) -> str:
    found = run_in(run)
    if found is None:
        raise BadInput(f"--run {run}: holds no config.yaml")
    json.dumps(found.model_dump(mode="json"), allow_nan=False)
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(status_page(found, time.time()))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
