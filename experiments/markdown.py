"""Pages in Markdown from the templates of this folder."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def markdown_templates() -> Environment:
    """The templates, with the filter `cell`; a name that is not given is an error."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=False,  # Markdown; what goes into it passes through `cell`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    return environment


def cell(text: object, limit: int | None = None) -> str:
    """Text that cannot end a cell of a Markdown table, nor be markup; at most `limit` characters of it."""
    words = " ".join(str(text).split())
    if limit is not None and len(words) > limit:
        words = words[:limit] + " …"
    return words.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
