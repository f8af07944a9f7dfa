"""Which node of a cluster needs which models of the hub."""

from __future__ import annotations

from presets.hub.nodes import Share, models_by_node, progress_text
from presets.planning.packing import Node
from presets.run_config import RunConfig
from presets.run_file import load_config
from tests.places import PRESET, ROOT

GIB = 2**30
DATA = f"data.path={ROOT / 'tests' / 'data' / 'laion_sg_example.json'}"
FLUX, KONTEXT = "black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-Kontext-dev"
QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"


def cluster(*changes: str) -> RunConfig:
    return load_config(ROOT / "presets" / "cluster.yaml", [DATA, *changes])


def node(name: str, role: str = "", **resources: float) -> Node:
    return Node(name, resources, {"rlrig-role": role} if role else {})


def test_each_labelled_node_needs_what_its_roles_read_and_one_without_gpus_nothing() -> None:
    nodes = [node("head", CPU=16), *(node(role, role, CPU=48, GPU=8) for role in ("image", "vlm", "learner"))]
    found = models_by_node(cluster("placement.nodes=strict"), nodes)
    assert found["image"] == {FLUX: "models.flux", KONTEXT: "models.editor"}
    assert set(found["vlm"]) == {QWEN}
    assert set(found["learner"]) == {QWEN, KONTEXT}
    assert "head" not in found


def test_without_labels_a_node_needs_all_whose_roles_it_could_hold() -> None:
    (found,) = models_by_node(cluster(), [node("any", CPU=48, GPU=8)]).values()
    assert set(found) == {FLUX, KONTEXT, QWEN}
    half = [node("slow", CPU=48, GPU=0.5)]
    assert models_by_node(cluster(), half) == {}  # no role asks for half a GPU


def test_one_process_that_draws_and_edits_reads_one_model() -> None:
    config = load_config(ROOT / "presets" / "one-gpu.yaml", [DATA])
    (found,) = models_by_node(config, [node("only", CPU=16, GPU=1)]).values()
    assert set(found) == {"black-forest-labs/FLUX.2-klein-4B", "Qwen/Qwen3-VL-4B-Instruct"}


def test_folders_need_no_node() -> None:
    assert models_by_node(load_config(PRESET), [node("only", CPU=16)]) == {}


def test_a_policy_that_does_not_train_has_no_learner_there() -> None:
    strict = ("placement.nodes=strict", "stages=[{stage: editor, updates: 1}]")
    found = models_by_node(cluster(*strict), [node("learner", "learner", CPU=48, GPU=8)])
    assert found == {"learner": {KONTEXT: "models.editor"}}


def test_progress_counts_nodes_and_bytes_as_far_as_they_are_known() -> None:
    shares = [Share(9 * GIB, 9 * GIB, ready=True), Share(5 * GIB, 28 * GIB), Share()]
    assert progress_text(shares) == "fetch: 1 of 3 nodes, 14.0 of 37.0 or more GiB"
    assert progress_text(shares[:2]) == "fetch: 1 of 2 nodes, 14.0 of 37.0 GiB"
