"""What a node fetches, says and finds in its way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub.utils import close_session

from presets.hub.fetcher import NodeFetcher
from presets.hub.nodes import Share
from tests.presets.memory.test_hub import at
from tests.rlrig.local_hub import NAMED, LocalHub, small_hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with small_hub(tmp_path) as hub:
        yield hub


@pytest.fixture
def here(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process asks the hub, into an empty cache."""
    at(hub.url, monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield
    close_session()


@pytest.mark.usefixtures("here")
def test_a_node_has_all_of_its_models_and_says_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = NodeFetcher(NAMED)
    assert fetcher.share() == Share()
    found = fetcher.bring()
    assert isinstance(found, Share)
    assert found.ready
    assert found.held == found.nbytes
    assert found.nbytes > 1_000_000
    again = NodeFetcher(NAMED).bring()
    assert again == found
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    looked = NodeFetcher(NAMED).bring()
    assert isinstance(looked, Share)
    assert looked.ready


@pytest.mark.usefixtures("here")
def test_a_node_says_what_stands_in_its_way(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add("own/flux")
    assert "models.flux: hf://own/flux is gated: accept its terms at the hub, and set HF_TOKEN" in str(
        NodeFetcher(NAMED).bring()
    )
    assert "hf://own/nothing is not on the hub" in str(NodeFetcher({"own/nothing": "models.actor"}).bring())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "models.flux: hf://own/flux is not in the hub's cache" in str(NodeFetcher(NAMED).bring())
