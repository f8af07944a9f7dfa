import re

from studio.api.app import make_app
from studio.api.reference import PAGE, http_page, write_page
from studio.config import GatewayConfig
from tests.studio.scripted_service import ScriptedService


def test_the_committed_page_agrees_with_the_document() -> None:
    """`python -m studio.api.reference --write` makes it agree."""
    assert PAGE.read_text(encoding="utf-8") == http_page()


def test_each_route_and_field_stands_on_the_page_with_its_meaning() -> None:
    document = make_app(ScriptedService(), GatewayConfig(), token="").openapi()
    page = http_page()
    for path, operations in document["paths"].items():
        assert all(f"## {method.upper()} `{path}`\n" in page for method in operations)
    for name, schema in document["components"]["schemas"].items():
        section = page.split(f"### {name}\n")[1].split("\n### ")[0]
        for field, about in schema["properties"].items():
            assert about.get("description"), f"{name}.{field} has no docstring"
            assert f"| `{field}` |" in section
    assert "| `n` | whole number, ≥ 1, ≤ 8 or null | `1` |" in page
    assert "| `seed` | whole number, ≥ 0, ≤ 9007199254740991 or null | `null` |" in page


def test_links_within_the_page_lead_somewhere(tmp_path) -> None:
    page = write_page(tmp_path / "http.md").read_text(encoding="utf-8")
    headings = {line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("#")}
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= headings


def test_limits_of_the_document_are_those_of_the_settings() -> None:
    config = GatewayConfig(max_n=3, max_turns=5, max_prompt_chars=77)
    paths = make_app(ScriptedService(), config, token="").openapi()["paths"]
    body = paths["/v1/images/generations"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert body["prompt"]["maxLength"] == 77
    assert body["n"]["anyOf"][0]["maximum"] == 3
    assert body["turns"]["anyOf"][0]["maximum"] == 5
    assert body["size"]["anyOf"][0]["maxLength"] == 11
    strict = make_app(ScriptedService(), GatewayConfig(strict=True), token="").openapi()["paths"]
    content = strict["/v1/images/generations"]["post"]["requestBody"]["content"]["application/json"]
    assert content["schema"]["properties"]["size"]["anyOf"][0]["enum"] == ["auto", "64x64"]
    form = paths["/v1/images/edits"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["prompt", "image"]
    assert form["properties"]["n"]["maximum"] == 3
