"""`rlrig pages`: a run's pages as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlrig.command import exit_codes
from scenes.harmless_text import harmless


def pages(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the pages; default RUN/pages.")] = None,
    updates: Annotated[
        int, typer.Option(min=1, help="Updates of each stage whose groups and trajectories get pages.")
    ] = 2,
) -> None:
    """Write the pages of a run as files: curves, groups, trajectories, and Studio with recorded episodes."""
    with exit_codes():
        from studio.pages.static_site import write_pages

        print(harmless(str(write_pages(run, out or run / "pages", updates))))
