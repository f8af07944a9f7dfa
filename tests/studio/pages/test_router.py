import re

import pytest
from starlette.testclient import TestClient

from scenes.vocabulary.vocabulary import ANY_RELATION
from studio.api.app import make_app
from studio.config import GatewayConfig
from studio.pages.rendering import assets
from studio.pages.router import pages_router
from tests.studio.pages.sample_runs import write_sample
from tests.studio.scripted_service import ScriptedService

TOKEN = "a-token-of-some-length"
PAGES = ("/runs", "/runs/sample", "/runs/sample/groups", "/runs/sample/trajectories/3/0/0")


def client_of(runs, token=""):
    config = GatewayConfig()
    app = make_app(ScriptedService(), config, [pages_router(runs, config)], token=token)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def client(sample):
    return client_of(sample)


def test_the_first_page_is_studio(client):
    assert client.get("/", follow_redirects=False).headers["location"] == "/studio"
    page = client.get("/studio").text
    assert 'maxlength="2000"' in page
    assert '<option value="red circle">' in page
    assert "<option>left of</option>" in page


def test_studio_offers_a_choice_of_relations_or_takes_any(client, sample):
    closed = client.get("/studio").text
    assert '<select id="relation">' in closed
    assert 'id="relations"' not in closed
    config = GatewayConfig()
    app = make_app(ScriptedService(), config, [pages_router(sample, config, ANY_RELATION)], token="")
    page = TestClient(app, base_url="http://127.0.0.1").get("/studio").text
    assert '<input id="relation" list="relations">' in page
    assert '<select id="relation">' not in page
    assert [f'<option value="{name}">' in page for name in ANY_RELATION.suggested] == [True] * 18
    assert all(f'<option value="{name}">' in page for name in ANY_RELATION.objects)
    assert f"<span>{ANY_RELATION.example}</span>" in page
    assert "red circle" not in page


@pytest.mark.parametrize("path", PAGES)
def test_data_need_the_token_and_the_page_around_it_tells_nothing(sample, path):
    guarded = client_of(sample, TOKEN)
    shell = guarded.get(path)
    assert shell.status_code == 200
    assert "sample" not in shell.text
    refused = guarded.get(f"/pages/data{path}")
    assert refused.status_code == 401
    assert "sample" not in refused.text
    answer = guarded.get(f"/pages/data{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert "sample" in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/studio", *PAGES, *(f"/pages/data{path}" for path in PAGES)])
def test_no_page_needs_more_than_its_policy_allows(client, path):
    answer = client.get(path)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)|javascript:", answer.text)
    for address in re.findall(r'(?:src|href)="([^"]*)"', answer.text):
        assert address.startswith(("/", "#", "data:")), address


def test_style_sheets_and_scripts_ask_for_nothing_outside(client):
    assert {"pages.css", "report.css", "common.js", "studio.js", "runs.js"} <= assets().keys()
    for name, (kind, text) in assets().items():
        answer = client.get(f"/pages/static/{name}")
        assert answer.headers["content-type"] == kind
        assert answer.text == text
        assert not re.search(r"https?://|@import|url\(|innerHTML = |insertAdjacentHTML|eval\(", text), name
    assert client.get("/pages/static/..%2frouter.py").status_code == 404
    assert client.get("/pages/static/none.js").status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/none", 404),
        ("/runs/%2e%2e", 404),
        ("/runs/..%2f..", 404),
        ("/runs/sample/groups?update=9", 404),
        ("/runs/sample/groups?update=x", 400),
        ("/runs/sample/groups?stage=checker", 400),
        ("/runs/sample/groups?turn=-1", 400),
        ("/runs?page=-1", 400),
        ("/runs/sample/trajectories/3/0/99", 404),
        ("/runs/sample/trajectories/3/0/x", 400),
    ],
)
def test_what_cannot_be_shown_is_an_error_that_says_why(sample, client, path, status):
    answer = client.get(f"/pages/data{path}")
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert str(sample) not in answer.text


def test_a_run_that_did_not_change_is_not_sent_again(client):
    state = re.search(r'data-state="([^"]+)"', client.get("/pages/data/runs/sample").text)[1]
    assert client.get("/pages/data/runs/sample", params={"state": state}).status_code == 204
    assert client.get("/pages/data/runs/sample", params={"state": "other"}).status_code == 200


def test_texts_that_models_write_stay_texts(tmp_path):
    write_sample(tmp_path, hostile="<script>alert(1)</script>\"'><img src=x onerror=alert(1)>")
    client = client_of(tmp_path)
    for path in ("/runs/sample/groups?update=3", "/runs/sample/trajectories/3/0/0"):
        text = client.get(f"/pages/data{path}").text
        assert "<script>" not in text
        assert "<img src=x" not in text
    assert "&lt;script&gt;" in client.get("/pages/data/runs/sample/trajectories/3/0/0").text


def test_pages_are_no_part_of_the_openapi_document(client):
    assert not [path for path in client.get("/openapi.json").json()["paths"] if path.startswith(("/runs", "/pages"))]
