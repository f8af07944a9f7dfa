"""The hub's models come to each node before a role starts."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from presets.errors import RunFailed
from presets.run_config import RunConfig
from presets.run_file import load_config
from rlrig.cluster.model_fetch import fetch_models
from rollout.progress import Progress
from tests.places import PRESET, ROOT, TINY
from tests.rlrig.local_hub import LocalHub, small_hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with small_hub(tmp_path) as hub:
        yield hub


class Said(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def config(*changes: str) -> RunConfig:
    models = ["models.flux=hf://own/flux", "models.actor=hf://own/actor", "models.checker=hf://own/actor"]
    return load_config(PRESET, ["ray.address=auto", *models, *changes])


def test_without_models_of_the_hub_not_even_ray_is_asked() -> None:
    said = Said()
    fetch_models(load_config(TINY / "run.yaml", []), said)
    assert said.lines == []


@pytest.mark.engines
def test_every_node_that_may_hold_a_role_has_the_models_before_it_starts(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    from ray.cluster_utils import Cluster

    def node(name: str, **more: str) -> dict[str, str]:
        return {"HF_HOME": str(tmp_path / name), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", **more}

    small = {"object_store_memory": 100 << 20}
    head = {"num_cpus": 0, "include_dashboard": False, "env_vars": node("head"), **small}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=4, labels={"rlrig-role": "image"}, env_vars=node("image"), **small)
        cluster.add_node(num_cpus=4, labels={"rlrig-role": "vlm"}, env_vars=node("vlm"), **small)
        cluster.wait_for_nodes(120)
        ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
        strict, said = config("placement.nodes=strict"), Said()
        fetch_models(strict, said)
        models = {
            name: sorted(p.name for p in (tmp_path / name / "hub").glob("models--*")) for name in ("image", "vlm")
        }
        assert models == {"image": ["models--own--flux"], "vlm": ["models--own--actor"]}
        assert not (tmp_path / "head").exists()  # nothing runs there
        assert said.lines[-1].startswith("fetch: 2 of 2 nodes, 0.0 of 0.0 GiB")
        assert "fetch" in said.total_seconds_by_phase()

        sent = hub.sent
        fetch_models(strict, said)
        assert hub.sent - sent < 10_000  # nothing comes twice

        shutil.rmtree(tmp_path / "vlm")
        hub.gated.add("own/actor")
        with pytest.raises(RunFailed, match=r"node [\d.]+: models.actor: hf://own/actor is gated.*set HF_TOKEN"):
            fetch_models(strict, said)
        hub.gated.clear()

        hub.silent_s, began = 30.0, time.monotonic()
        with pytest.raises(
            RunFailed, match=r"node [\d.]+: hf://own/actor did not come within 8 s \(fetch: 0 of 1 node"
        ):
            fetch_models(config("placement.nodes=strict", "ray.fetch_s=8"), said)
        assert time.monotonic() - began < 30

        asked = len(hub.asked)
        fetch_models(load_config(PRESET, ["ray.address=auto"]), said)  # folders alone
        assert len(hub.asked) == asked
    finally:
        ray.shutdown()
        cluster.shutdown()
