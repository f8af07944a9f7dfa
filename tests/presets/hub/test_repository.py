"""Models of a hub on this machine in the hub's cache: brought, counted, and looked at where the hub is not asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from huggingface_hub.utils import close_session

from presets.errors import BadInput
from presets.hub.repository import brought, check_cached, held_bytes, missing_bytes, refuse_without_room, wanted
from tests.places import TINY
from tests.presets.memory.test_hub import at
from tests.rlrig.local_hub import LocalHub, local_hub

MODELS = TINY / "models"
KEY = "models.flux"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folders = {f"own/{name}": shutil.copytree(MODELS / name, tmp_path / name) for name in ("flux", "actor")}
    with local_hub(folders) as hub:
        at(hub.url, monkeypatch)
        yield hub
    close_session()


def test_what_is_missing_shrinks_to_nothing_and_the_cache_holds_it(hub: LocalHub) -> None:
    one = wanted(KEY, "own/flux")
    before = missing_bytes(one)
    assert one.nbytes - 10_000 < before <= one.nbytes  # the index of a pipeline has been read
    folder = brought(one)
    assert missing_bytes(one) == 0
    assert sum((folder / name).stat().st_size for name in one.files) == one.nbytes
    assert one.nbytes - 10_000 < held_bytes("own/flux") <= one.nbytes  # equal files are there once
    assert held_bytes("own/actor") == 0


@pytest.mark.parametrize("name", ["flux", "actor"])
def test_off_line_what_was_brought_is_found_by_its_name(
    hub: LocalHub, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought(wanted(KEY, f"own/{name}"))
    hub.asked.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    check_cached(KEY, f"own/{name}")
    assert hub.asked == []


def test_off_line_what_is_not_there_or_cut_short_is_named_with_a_remedy(hub: LocalHub) -> None:
    with pytest.raises(BadInput, match=r"models.flux: hf://own/flux is not in the hub's cache.*`rlrig fetch` there"):
        check_cached(KEY, "own/flux")
    folder = brought(wanted(KEY, "own/flux"))
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.resolve().write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BadInput, match=r"models.flux: hf://own/flux.*transformer/diffusion.* is damaged.*rlrig fetch"):
        check_cached(KEY, "own/flux")
    weights.unlink()
    with pytest.raises(BadInput, match=r"hf://own/flux.*transformer holds no .safetensors file"):
        check_cached(KEY, "own/flux")
    shutil.rmtree(folder / "transformer")
    with pytest.raises(BadInput, match=r"transformer is missing"):
        check_cached(KEY, "own/flux")


def test_a_shard_that_the_index_names_must_be_there(hub: LocalHub) -> None:
    folder = brought(wanted("models.actor", "own/actor"))
    shards = folder / "model.safetensors.index.json"
    shards.write_text('{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}')
    with pytest.raises(BadInput, match=r"model-2.safetensors is missing"):
        check_cached("models.actor", "own/actor")


def test_a_disk_without_room_is_refused(tmp_path: Path) -> None:
    refuse_without_room(0)
    with pytest.raises(BadInput, match=r"HF_HOME, .*: 1000000000.0 GB are missing.*choose another disk with HF_HOME"):
        refuse_without_room(10**18)
    with pytest.raises(BadInput, match=rf"--to {tmp_path}.*with --to or HF_HOME"):
        refuse_without_room(10**18, tmp_path)
