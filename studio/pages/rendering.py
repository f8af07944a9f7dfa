"""Fills the templates of the pages. A fragment is what a page says; a shell is the page around it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import reports
from reports.drawing.charts import COLOURS, DARK_COLOURS, DASHES
from reports.reading.picture import Pictures

if TYPE_CHECKING:
    from studio.pages.group_view import GroupPage
    from studio.pages.links import Links

_HERE = Path(__file__).resolve().parent
_STATIC = _HERE / "static"
_REPORT = Path(reports.__path__[0]) / "templates"
_SMALL = 192  # pixels of an image of a table
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader([_HERE / "templates", _REPORT]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["small"] = lambda png: Pictures().shown(png, _SMALL)
    return environment


def render(template: str, **values: Any) -> str:
    """The text of `template`, a name without its ending."""
    return _environment().get_template(f"{template}.html.j2").render(dashes=DASHES, **values)


def groups_fragment(page: GroupPage, links: Links) -> str:
    """The gallery, with the addresses of its neighbours."""
    query = page.filter.query

    def update(number: int | None) -> str | None:
        return None if number is None else links.groups(page.run, number, **query)

    def part(number: int) -> str | None:
        return links.groups(page.run, page.update, **query, page=str(number)) if 1 <= number <= page.pages else None

    return render(
        "groups",
        page=page,
        links=links,
        before=update(page.before),
        after=update(page.after),
        earlier_page=part(page.page - 1),
        next_page=part(page.page + 1),
    )


@cache
def assets() -> dict[str, tuple[str, str]]:
    """Style sheets and scripts by name: (media type, text)."""
    found = {
        path.name: (_TYPES[path.suffix], path.read_text(encoding="utf-8"))
        for path in sorted(_STATIC.iterdir())
        if path.suffix in _TYPES
    }
    sheet = _environment().get_template("report.css.j2").render(colours=COLOURS, dark_colours=DARK_COLOURS)
    return {**found, "report.css": (_TYPES[".css"], sheet)}
