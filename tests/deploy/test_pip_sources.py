"""What pip's configuration means for uv."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.places import ROOT


@pytest.fixture(scope="module")
def sources() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pip_sources", ROOT / "deploy" / "pip_sources.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_environment_counts_more_than_a_section_and_that_more_than_global(sources: ModuleType) -> None:
    listing = (
        ":env:.timeout='5'\n"
        "global.index-url='https://a.example.com/simple'\n"
        "global.timeout='60'\n"
        "install.index-url='https://b.example.com/simple'\n"
        "download.index-url='https://c.example.com/simple'\n"
        "global.find-links='\\n/one\\n/two'\n"
    )
    assert sources.pip_options(listing) == {
        "index-url": "https://b.example.com/simple",
        "timeout": "5",
        "find-links": "/one\n/two",
    }


def test_folders_of_wheels_that_are_missing_are_left_out(sources: ModuleType, tmp_path: Path) -> None:
    places = f"{tmp_path} {tmp_path}/missing https://wheels.example.com"
    variables = sources.uv_variables({"find-links": places}, {})
    assert variables["UV_FIND_LINKS"] == f"{tmp_path},https://wheels.example.com"
    assert "UV_FIND_LINKS" not in sources.uv_variables({"find-links": f"{tmp_path}/missing"}, {})


def test_what_is_set_for_uv_itself_counts_more(sources: ModuleType) -> None:
    options = {"index-url": "https://a.example.com", "timeout": "5", "constraint": "/constraints.txt"}
    variables = sources.uv_variables(options, {"UV_DEFAULT_INDEX": "https://own.example.com", "HOME": "/"})
    assert variables == {"UV_HTTP_TIMEOUT": "5", "UV_INDEX_STRATEGY": "unsafe-best-match"}


@pytest.mark.parametrize(
    ("options", "authority"), [({}, "/bundle.pem"), ({"cert": "/own.pem"}, "/own.pem")], ids=["bundle", "cert"]
)
def test_the_authority_that_pip_trusts_is_uvs(sources: ModuleType, options: dict[str, str], authority: str) -> None:
    variables = sources.uv_variables(options, {"REQUESTS_CA_BUNDLE": "/bundle.pem", "SSL_CERT_FILE": "/other.pem"})
    assert variables["SSL_CERT_FILE"] == authority


def test_what_uv_cannot_be_told_is_an_error(sources: ModuleType) -> None:
    with pytest.raises(ValueError, match="no-index"):
        sources.uv_variables({"no-index": "true"}, {})
    assert sources.uv_variables({"no-index": "false"}, {})
