"""`rlrig status`: how a run goes, from its folder or from the cluster that it is a job of."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from presets.errors import BadInput, RunFailed
from reports.status.page import jobs_page, run_page
from reports.status.reader import read_status
from rlrig.command import Json, exit_codes
from rlrig.run_watch import process_exists

if TYPE_CHECKING:
    from reports.status.status import RunStatus


MOST_BYTES = 1 << 28
"""Of one file of a run."""


@dataclass(frozen=True)
class View:
    """What is shown at one time. `over`: nothing in it will change any more."""

    page: RenderableType
    values: dict[str, Any]
    over: bool


def status(
    address: Annotated[str | None, typer.Option(help="A cluster's dashboard, http://HOST:8265: show its runs.")] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Folder of a run, or the URI that it is kept at; default the newest in runs/."),
    ] = None,
    json_: Json = False,
    watch: Annotated[
        float | None, typer.Option(min=0.5, metavar="SECONDS", help="Show it anew this often, until it has ended.")
    ] = None,
) -> None:
    """Show how a run goes: phase, updates, reward, throughput, versions, staleness, what went wrong."""
    with exit_codes(json_) as out:
        look = _at_cluster(address, run) if address else _at_run(run or _newest())
        _show(look, out if json_ else None, watch)


def _show(look: Callable[[], View], json_out: TextIO | None, watch: float | None) -> None:
    view = look()
    if json_out:
        _print(view, json_out)
        while watch and not view.over:
            time.sleep(watch)
            _print(view := look(), json_out)
        return
    console = Console()
    if not watch or not console.is_terminal:
        console.print(view.page)
        while watch and not view.over:
            time.sleep(watch)
            console.print((view := look()).page)
        return
    with Live(view.page, console=console, auto_refresh=False) as live:
        while not view.over:
            time.sleep(watch)
            live.update((view := look()).page, refresh=True)


def _print(view: View, out: TextIO) -> None:
    print(json.dumps({"event": "status", **view.values}), file=out, flush=True)


def _at_run(run: str) -> Callable[[], View]:
    """The run in a folder, or at a URI."""
    read = _reader(run)

    def look() -> View:
        found = read()
        if found is None:
            raise BadInput(f"--run {run}: holds no config.yaml; give the folder of a run, runs/NAME, or its URI")
        return View(run_page(found, time.time()), {"run": found.model_dump(mode="json")}, found.over)

    return look


def _at_cluster(address: str, run: str | None) -> Callable[[], View]:
    """The runs among a cluster's jobs; with `run` those of that run, whose curves come from there."""
    from rlrig.cluster.job_status import choose, jobs_of
    from rlrig.cluster.submission import connect

    client = connect(address)
    read = _reader(run) if run else None

    def look() -> View:
        jobs = jobs_of(client, run_in)
        if run and read:
            jobs = choose(jobs, run)
            if (found := read()) is not None:
                jobs[-1] = jobs[-1].model_copy(update={"run": found, "source": "folder"})
        values = {"address": address, "jobs": [job.model_dump(mode="json") for job in jobs]}
        return View(jobs_page(jobs, time.time()), values, all(job.over for job in jobs))

    return look


def _reader(run: str) -> Callable[[], RunStatus | None]:
    if "://" not in run:
        return lambda: run_in(Path(run))
    from reports.storage import Mirror

    mirror = Mirror(run, "--run")
    return lambda: read_status(mirror.name, mirror.read_text)


def run_in(folder: Path) -> RunStatus | None:
    """The status of the run in a folder; None where none lies there.

    Raises:
        RunFailed: a file cannot be read.
    """

    def read(name: str) -> str | None:
        path = folder / name
        try:
            if not path.exists():
                return None
            if not path.is_file():
                raise RunFailed(f"{path} cannot be read: it is no file")
            with path.open("rb") as file:
                return file.read(MOST_BYTES).decode("utf-8", errors="replace")
        except OSError as error:
            raise RunFailed(f"{path} cannot be read: {error}") from error

    return read_status(folder.resolve().name, read, process_exists)


def _newest() -> str:
    """The run in runs/ that was written to last.

    Raises:
        BadInput: there is none.
    """
    files = list(Path("runs").glob("*/config.yaml"))
    if not files:
        raise BadInput("--run: runs/ holds no run; give the folder of one, its URI, or a cluster with --address")
    latest = max(files, key=lambda file: max(path.stat().st_mtime for path in file.parent.iterdir()))
    return str(latest.parent)
