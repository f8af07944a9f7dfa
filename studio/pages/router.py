"""The addresses of the pages. A page itself tells nothing; what it shows is asked for at `/pages/data`, with the token
where the endpoint needs one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from reports.reading.table import DamagedFile
from scenes.vocabulary.vocabulary import FOUR_RELATIONS, Vocabulary
from studio.access import require
from studio.errors import ApiError
from studio.pages.group_filter import BadFilter, GroupFilter, whole_number
from studio.pages.group_view import group_page
from studio.pages.links import ServedLinks
from studio.pages.loading import Loading, Ready
from studio.pages.rendering import assets, groups_fragment, render
from studio.pages.run_index import NotThere, RunsFolder
from studio.pages.run_view import run_page
from studio.pages.trajectory_view import trajectory_page

if TYPE_CHECKING:
    from studio.config import GatewayConfig

_OF_STUDIO = ("event_stream", "strip", "turns", "seeds", "history", "scene_builder", "examples", "asking",
              "requirements", "studio")  # fmt: skip
_OF_RUNS = ["charts.js", "runs.js"]


def pages_router(
    runs: Path, config: GatewayConfig, vocabulary: Vocabulary = FOUR_RELATIONS, ready: Ready | None = None
) -> APIRouter:
    """Studio and the runs in the folder `runs`.

    Args:
        config: the endpoint's limits, which Studio's form keeps to.
        vocabulary: what Studio offers to ask for.
        ready: see `Service.ready`; until it says so once, Studio is a page that says what is loading.
    """
    router = runs_router(runs)
    links, loading = ServedLinks(), Loading(ready) if ready else None

    @router.get("/")
    def start() -> Response:
        return RedirectResponse("/studio")

    @router.get("/studio")
    async def studio() -> Response:
        if loading and (page := await loading.page()):
            return page
        scripts = [f"{name}.js" for name in _OF_STUDIO]
        values = {"config": config, "words": vocabulary}
        return HTMLResponse(
            render("studio", title="Studio", here="studio", run=None, links=links, scripts=scripts, **values)
        )

    return router


def runs_router(runs: Path, studio: bool = True) -> APIRouter:
    """The runs in the folder `runs`; `studio` says whether their pages lead to Studio."""
    router = APIRouter(include_in_schema=False)
    links = ServedLinks(studio)
    files = assets()

    @router.get("/runs")
    @router.get("/runs/{name}")
    @router.get("/runs/{name}/groups")
    @router.get("/runs/{name}/trajectories/{update}/{group}/{member}")
    def shell() -> Response:
        return HTMLResponse(
            render(
                "runs_shell",
                title="Runs",
                here="runs",
                run=None,
                links=links,
                scripts=["charts.js", "runs.js"],
                fragment=None,
            )
        )

    @router.get("/pages/static/{name}")
    def asset(name: str) -> Response:
        if name not in files:
            raise ApiError(404, "there is no such file", code="not_found")
        kind, text = files[name]
        return Response(text, media_type=kind, headers={"Cache-Control": "no-cache"})

    router.include_router(_data(RunsFolder(runs), links))
    return router


def _data(folder: RunsFolder, links: ServedLinks) -> APIRouter:
    router = APIRouter(prefix="/pages/data", dependencies=[Depends(require)])

    @router.get("/runs")
    def runs(request: Request) -> Response:
        return _answer(lambda: render("runs", list=folder.page(_page(request)), links=links))

    @router.get("/runs/{name}")
    def run(request: Request, name: str) -> Response:
        def make() -> str | None:
            if request.query_params.get("state") == folder.state(name):
                return None
            over = request.query_params.get("over")
            return render("run", run=run_page(folder, name, links, _page(request), over), links=links)

        return _answer(make)

    @router.get("/runs/{name}/groups")
    def groups(request: Request, name: str) -> Response:
        def make() -> str:
            wanted = GroupFilter.from_query(request.query_params)
            update = _number(request, "update")
            return groups_fragment(group_page(folder, name, update, wanted, links, _page(request)), links)

        return _answer(make)

    @router.get("/runs/{name}/trajectories/{update}/{group}/{member}")
    def trajectory(name: str, update: str, group: str, member: str) -> Response:
        def make() -> str:
            place = whole_number(update, "update"), whole_number(group, "group"), whole_number(member, "member")
            return render("trajectory", page=trajectory_page(folder, name, *place, links), links=links)

        return _answer(make)

    return router


def _number(request: Request, name: str) -> int | None:
    given = request.query_params.get(name, "")
    return whole_number(given, name) if given else None


def _page(request: Request) -> int:
    number = _number(request, "page")
    return 1 if number is None else number


def _answer(make: Callable[[], str | None]) -> Response:
    """What `make` returns as HTML; 204 where it returns nothing because nothing changed.

    Raises:
        ApiError: 404, 400 or 422 for what `make` raises.
    """
    try:
        text = make()
    except NotThere as error:
        raise ApiError(404, str(error), code="not_found") from error
    except BadFilter as error:
        raise ApiError(400, str(error), code="invalid_value") from error
    except DamagedFile as error:
        raise ApiError(422, str(error), code="damaged_file") from error
    except OSError as error:  # whose words may tell a path
        why = f"a file of the run cannot be read ({type(error).__name__})"
        raise ApiError(422, why, code="damaged_file") from error
    headers = {"Cache-Control": "no-store"}
    return Response(status_code=204, headers=headers) if text is None else HTMLResponse(text, headers=headers)
