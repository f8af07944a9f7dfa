"""`rlrig ui`: the pages of runs, served to a browser or written as files. It loads no engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from presets.errors import BadInput
from rlrig.command import exit_codes, naming
from scenes.harmless_text import harmless


def ui(
    runs: Annotated[Path, typer.Option(help="Folder whose runs are shown, also while they train.")] = Path("runs"),
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; any but a loopback address needs a token.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, default 8000; 0 takes a free one.")] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Serve nothing: write the pages of this run as files.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --write, folder of the files; default RUN/pages.")] = None,
    updates: Annotated[
        int | None,
        typer.Option(min=1, help="With --write, updates of each stage whose groups get pages; default 2."),
    ] = None,
) -> None:
    """Show the pages of runs in a browser: curves, groups, trajectories, live beside a run that trains.

    A bearer token is taken from the environment variable RLRIG_TOKEN.
    """
    given = {"host": host, "port": port}
    flags = {f"gateway.{key}": f"--{key}" for key, value in given.items() if value is not None}
    with exit_codes(), naming(flags):
        if write is not None:
            from studio.pages.static_site import UPDATES, write_pages

            if flags:
                raise BadInput(f"{next(iter(flags.values()))}: has no meaning with --write, which serves nothing")
            print(harmless(str(write_pages(write, out or write / "pages", updates or UPDATES))))
            return
        if out is not None or updates is not None:
            raise BadInput(f"--{'out' if updates is None else 'updates'}: goes with --write RUN only")
        _serve(runs, given)


def _serve(runs: Path, given: dict[str, str | int | None]) -> None:
    from rlrig.endpoint.cli import gateway_config
    from rlrig.endpoint.http_server import run_server
    from studio.exposure import check_exposure
    from studio.pages_app import pages_app

    gateway = gateway_config([], **given)
    token = os.environ.pop(gateway.token_env, "")
    check_exposure(gateway, token)
    if not runs.is_dir():
        print(f"{harmless(str(runs))}: no such folder yet; runs are shown as soon as they are there")
    run_server(pages_app(runs, gateway, token), gateway, lambda url: print(f"{url}/runs; Ctrl+C ends it", flush=True))
