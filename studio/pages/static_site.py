"""The pages of one run as files, which need no service: a folder that opens from a disk or any web server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from presets.errors import BadInput
from reports.before_after.rows import before_after
from scenes.whole_file import whole_file
from studio.pages.group_filter import GroupFilter
from studio.pages.group_view import group_page
from studio.pages.links import FileLinks
from studio.pages.recorded_episodes import recorded_episodes
from studio.pages.rendering import assets, groups_fragment, render
from studio.pages.run_index import NotThere, RunsFolder
from studio.pages.run_view import run_page
from studio.pages.trajectory_file import updates_of
from studio.pages.trajectory_view import trajectory_pages

UPDATES = 2


def write_pages(run: Path, out: Path, updates: int = UPDATES) -> Path:
    """Write the run's page, the groups and trajectories of some updates, and Studio with recorded episodes; returns the
    path of the first page.

    Args:
        updates: of each stage, from its first to its last, evenly spread; a folder of all of them can be large.

    Raises:
        BadInput: `run` is no run's folder, or `out` is a file.
    """
    run = run.resolve()
    folder = RunsFolder(run.parent)
    try:
        folder.find(run.name)
    except NotThere as error:
        raise BadInput(f"RUN {run}: holds no config.yaml, metrics.jsonl or trajectories; give runs/NAME") from error
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out}: is a file; give a folder")
    if updates < 1:
        raise BadInput(f"--updates {updates}: is below 1")
    chosen = _spread(folder, run, updates)
    links = FileLinks(chosen)
    site = _Site(folder, run.name, links, out)
    out.mkdir(parents=True, exist_ok=True)
    for name, (_, text) in assets().items():
        site.write(name, text)
    page = run_page(folder, run.name, links, page=None)
    site.page("index.html", run.name, "run", render("run", run=page, links=links), ("charts.js",))
    site.studio([update for update in chosen if site.update(update)])
    return out / "index.html"


def _spread(folder: RunsFolder, run: Path, updates: int) -> list[int]:
    """Some of the updates that have trajectories, of each stage the first and the last among them."""
    stages: dict[str, list[int]] = {}
    lines = {line["update"]: line["stage"] for line in folder.lines(run)[0]}
    for update in updates_of(folder, run):
        stages.setdefault(lines.get(update, ""), []).append(update)
    chosen: set[int] = set()
    for ours in stages.values():
        last = len(ours) - 1
        chosen |= {ours[round(last * k / max(1, updates - 1))] if updates > 1 else ours[-1] for k in range(updates)}
    return sorted(chosen)


class _Site:
    """Writes the files of one run."""

    def __init__(self, folder: RunsFolder, run: str, links: FileLinks, out: Path) -> None:
        self.folder, self.run, self.links, self.out = folder, run, links, out

    def write(self, name: str, text: str) -> None:
        with whole_file(self.out / name) as partial:
            partial.write_text(text, encoding="utf-8")

    def page(self, name: str, title: str, here: str, fragment: str, scripts: tuple[str, ...] = ()) -> None:
        values: dict[str, Any] = {"links": self.links, "run": self.run, "scripts": scripts}
        self.write(name, render("runs_shell", title=title, here=here, fragment=fragment, **values))

    def update(self, update: int) -> bool:
        """The groups of an update, and a page for each of their members; whether there are any. Where there are not,
        the page says why."""
        groups = group_page(self.folder, self.run, update, GroupFilter(), self.links, page=None)
        name = self.links.groups(self.run, update)
        title = f"Groups of update {update}"
        self.page(str(name), title, "", groups_fragment(groups, self.links), ("group_filter.js",))
        if groups.problem:
            return False
        for page in trajectory_pages(self.folder, self.run, update, self.links):
            place = self.links.trajectory(self.run, update, page.group, page.member)
            self.page(str(place), page.requirements, "", render("trajectory", page=page, links=self.links))
        return True

    def studio(self, updates: list[int]) -> None:
        """Studio with recorded episodes; those of training are of these updates."""
        found = recorded_episodes(self.folder, self.folder.find(self.run), updates)
        recorded = json.dumps(found)
        recorded = recorded.replace("<", "\\u003c")  # nothing in it may end the element that it stands in
        values = {
            "here": "studio",
            "run": self.run,
            "links": self.links,
            "scripts": ["strip.js", "turns.js", "recorded.js"],
        }
        values["before_after"] = before_after(self.folder.find(self.run))[0]
        self.write("studio.html", render("studio", title="Studio", recorded=recorded, **values))
