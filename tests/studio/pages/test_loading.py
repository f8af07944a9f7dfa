"""What Studio shows while the models of an endpoint load."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from studio.api.app import make_app
from studio.config import GatewayConfig
from studio.pages.router import pages_router
from tests.studio.scripted_service import ScriptedService


class Loads:
    """A service that becomes ready role by role."""

    def __init__(self) -> None:
        self.why = {"diffuser": "", "checker": "loading, 2 of 3", "actor": "it waits to be loaded"}
        self.late = False

    async def ready(self) -> dict[str, str]:
        if self.late:
            raise TimeoutError
        return self.why


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def client(loads: Loads, tmp_path: Path) -> TestClient:
    config = GatewayConfig()
    app = make_app(ScriptedService(), config, [pages_router(tmp_path, config, ready=loads.ready)], token="")
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_the_page_counts_and_loads_itself_again_until_all_are_there(loads: Loads, client: TestClient) -> None:
    page = client.get("/studio")
    assert (page.status_code, page.headers["refresh"], page.headers["cache-control"]) == (503, "1", "no-store")
    assert "<h1>Loading, 2 of 3</h1>" in page.text
    assert "diffuser: ready" in page.text
    assert "checker: not ready yet" in page.text
    loads.why["checker"] = ""
    assert "<h1>Loading, 3 of 3</h1>" in client.get("/studio").text
    loads.why["actor"] = ""
    page = client.get("/studio")
    assert page.status_code == 200
    assert ">Studio</h1>" in page.text
    assert "refresh" not in page.headers


def test_once_all_were_there_studio_stays(loads: Loads, client: TestClient) -> None:
    loads.why = dict.fromkeys(loads.why, "")
    assert client.get("/studio").status_code == 200
    loads.why["actor"] = "no replica runs; one is being started"
    assert client.get("/studio").status_code == 200


def test_a_service_that_does_not_answer_is_waited_for(loads: Loads, client: TestClient) -> None:
    loads.late = True
    page = client.get("/studio")
    assert page.status_code == 503
    assert "<h1>Loading, 1 of 1</h1>" in page.text


def test_the_pages_of_runs_are_there_meanwhile(client: TestClient) -> None:
    assert client.get("/runs").status_code == 200
    assert client.get("/pages/data/runs").status_code == 200
