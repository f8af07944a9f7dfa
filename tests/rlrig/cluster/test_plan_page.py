import io
import json

import pytest
from rich.console import Console

from presets.disk import trajectories_on_disk
from presets.memory.sizes import Sizes
from presets.planning.packing import Node
from presets.planning.plan import make_plan
from presets.run_file import load_config
from rlrig.cluster.nodes import Cluster
from rlrig.cluster.plan_page import disk_text, plan_as_dict, show_plan, totals_text
from rlrig.cluster.room import judge
from tests.places import PRESET, ROOT


def page(*overrides: str, nodes: tuple[Node, ...] = ()) -> str:
    plan = make_plan(load_config(PRESET, ["ray.address=auto", *overrides]))
    text = io.StringIO()
    show_plan(plan, "tiny", judge(plan, Cluster(nodes)) if nodes else None, Console(file=text, width=200))
    return text.getvalue()


def row(text: str, start: str, nth: int = 0) -> list[str]:
    """The cells of the nth line that begins with `start`, after that."""
    return [line for line in text.splitlines() if line.startswith(start)][nth][len(start) :].split()


def test_each_role_has_a_row_with_what_ray_is_asked_for():
    text = page("vlm.actor.gpus=2", "placement.nodes=strict")
    assert row(text, "Inverse Diffuser") == ["Ray", "actor", "2", "1", "0", "–", "image"]
    assert " ".join(row(text, "VLM Actor")) == "Serve replica 1 0.2 2 2 × 0.1 CPU + 1 GPU vlm"
    assert row(text, "driver") == ["process", "1", "0", "0", "–", "–"]
    assert row(text, "learner rank (editor)") == ["Ray", "actor", "2", "1", "0", "–", "learner"]
    assert "image, or any" in page("placement.nodes=preferred")


def test_memory_is_gpu_memory_where_a_role_has_gpus():
    tiny = page()
    assert "GPU memory" not in tiny
    weights, gradients, optimizer, activations, cache, _, every = row(tiny, "learner rank (editor)", nth=1)
    assert (weights, gradients, optimizer, activations, cache) == ("0.011", "0.017", "0.017", "0.205", "–")
    assert every == "0.501"
    text = page("vlm.actor.gpus=2", "vlm.checker.kv_cache_gib=null")
    on_gpus, others = text.split("GPU memory, GiB")[1].split("memory, GiB")
    assert row(on_gpus, "VLM Actor")[-1] == "0.302"  # twice what one of its GPUs holds
    assert row(others, "VLM Checker")[4] == "?"
    assert row(others, "VLM Checker")[5] == "≥"
    assert "not known, VLM Checker: kv cache: vLLM takes what it finds; kv_cache_gib sets it" in text


def test_the_trajectories_of_each_policy_have_a_row_for_every_keep():
    config = load_config(PRESET, ["keep.editor=images", "stages=[{stage: alternate, updates: 30000}]"])
    disk, text = trajectories_on_disk(config), io.StringIO()
    show_plan(make_plan(config, memory=False), "tiny", None, Console(file=text, width=200), disk=disk, disk_gib=2.0)
    actor, editor = (row(text.getvalue(), policy) for policy in ("actor", "editor"))
    assert actor == ["0.002", "0.002", "0.000", "0.000", "15000", "all", "23.9"]
    assert editor[4:] == ["15000", "images", "23.9"]
    assert float(editor[0]) > float(editor[1])
    assert "take about 47.7 GiB; needs.disk_gib is 2, which is too little: raise needs.disk_gib." in text.getvalue()
    assert disk_text(disk, 30.0).endswith("too little: set keep.editor=none (29.2 GiB), or raise needs.disk_gib.")
    values = plan_as_dict(make_plan(config, memory=False), disk=disk)["trajectories"]
    assert [(one["while_training"], one["updates"], one["keep"]) for one in values] == [
        ("actor", 15000, "all"),
        ("editor", 15000, "images"),
    ]
    assert values[1]["total_gib"] == pytest.approx(15000 * values[1]["update_gib"]["images"])


def test_the_totals_name_the_labels_and_the_larger_learner():
    plan = make_plan(load_config(PRESET, ["placement.nodes=strict", "editor.gpus=1", "ray.address=auto"]), memory=False)
    assert totals_text(plan) == (
        "The cluster must offer 6.3 CPU + 2 GPU; of the learners one is alive at a time, and the larger counts. "
        "Of these 4 CPU + 2 GPU on nodes with rlrig-role=image, 0.2 CPU on nodes with rlrig-role=vlm, 2 CPU on nodes "
        "with rlrig-role=learner."
    )


def test_a_fleet_that_may_grow_shows_its_range_and_the_least_must_fit():
    grows = ("editor.workers=1", "editor.max_workers=6")
    text = page(*grows, nodes=(Node("a", {"CPU": 5.3}),))
    assert row(text, "Inverse Diffuser")[:3] == ["Ray", "actor", "1–6"]
    assert "The cluster must offer 5.3 CPU; of the learners one is alive" in text
    assert "fleets that grow with the backlog may take it to 10.3 CPU" in text
    assert text.rstrip().endswith("the plan fits on the 1 node of the cluster")
    values = plan_as_dict(make_plan(load_config(PRESET, ["ray.address=auto", *grows]), memory=False))
    assert [(role["count"], role["most"]) for role in values["roles"] if role["role"] == "Inverse Diffuser"] == [(1, 6)]
    assert round(values["most"]["CPU"], 4) == 10.3


def test_the_verdict_is_the_end_of_the_page():
    assert page(nodes=(Node("a", {"CPU": 8}),)).rstrip().endswith("the plan fits on the 1 node of the cluster")
    text = page("editor.gpus=1", nodes=(Node("a", {"CPU": 8}),))
    assert "the plan does not fit on the 1 node of the cluster\n  Inverse Diffuser: 2 of 2 without room" in text


def test_json_holds_the_same_with_null_for_what_is_not_known():
    plan = make_plan(load_config(PRESET, ["vlm.actor.gpus=1", "models.editor=hf://nobody/has-this-one"]))
    values = json.loads(json.dumps(plan_as_dict(plan, judge(plan, Cluster((Node("a", {"CPU": 8}),))))))
    roles = {role["role"]: role for role in values["roles"]}
    assert roles["VLM Actor"]["bundles"] == [{"CPU": 0.1, "GPU": 1.0}]
    assert roles["VLM Actor"]["placement_group"] == "PACK"
    assert roles["VLM Actor"]["gpu_memory_gib"]["kv_cache"] == 0.125
    assert roles["Inverse Diffuser"]["memory_gib"]["weights"] is None
    assert set(values["unknown"]) == {"Inverse Diffuser", "learner rank (editor)"}
    assert values["totals"]["GPU"] == 1
    assert values["fits"] is False
    assert values["missing"][0].startswith("VLM Actor: 1 of 1 without room")


def test_what_each_gpu_holds_has_a_row_a_phase_with_its_arithmetic():
    text = page("diffuser.gpus=1", "learner.editor.gpus_per_rank=1", "needs.gpu_gib=4")
    assert "learner rank (editor), optimizer: 2.31 M trained × 8 B = 0.017 GiB" in text
    table = text.split("on one GPU, GiB")[1]
    assert row(table, "diffuser")[:3] == ["2", "rollout", "0.542"]
    assert " ".join(row(table, "learner.editor")).startswith("2 update (editor)")
    assert " ".join(row(table, "diffuser")).endswith("4 – diffuser 0.042 GiB + 1 × 0.5 GiB of CUDA")
    assert "on one GPU" not in page()


def test_what_turns_cost_is_told_by_policy_that_trains():
    plan = make_plan(
        load_config(
            ROOT / "presets" / "one-gpu.yaml", [f"data.path={ROOT / 'tests' / 'data' / 'laion_sg_example.json'}"]
        ),
        sizes=Sizes(ask_hub=False),
    )
    text = io.StringIO()
    show_plan(plan, "one-gpu", console=Console(file=text, width=300))
    lines = [line.strip() for line in text.getvalue().splitlines() if line.strip().startswith("switches of an update")]
    assert lines == [str(switch) for switch in plan.switches]
    actor, editor = plan_as_dict(plan)["switches"]
    assert (actor["while_training"], editor["while_training"]) == ("actor", "editor")
    assert actor["leave_gib"] == editor["leave_gib"]
    assert editor["cheap_from_update_s"] == pytest.approx(10 * editor["seconds"])
    assert "switches of an update" not in page()
    assert plan_as_dict(make_plan(load_config(PRESET)))["switches"] == []
