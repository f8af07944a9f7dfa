import pytest

from presets.planning.packing import Node
from presets.planning.plan import Plan, make_plan
from presets.run_file import load_config
from rlrig.cluster.nodes import Cluster, NodeType
from rlrig.cluster.room import judge, refusals, resources_text
from tests.places import PRESET


def plan_of(*overrides: str) -> Plan:
    return make_plan(load_config(PRESET, ["ray.address=auto", *overrides]), memory=False)


def node(cpus: float, gpus: float = 0, role: str = "") -> Node:
    return Node(f"{role}-{cpus:g}", {"CPU": cpus, "GPU": gpus, "memory": 1e9}, {"rlrig-role": role} if role else {})


LABELLED = (node(1, role="head"), node(4, role="image"), node(1, role="vlm"), node(2, role="learner"))


def test_a_plan_fits_on_one_node_or_on_labelled_ones():
    assert judge(plan_of(), Cluster((node(6.3),))).fits
    verdict = judge(plan_of("placement.nodes=strict"), Cluster(LABELLED))
    assert verdict.fits
    assert verdict.text == "the plan fits on the 4 nodes of the cluster"
    assert refusals(plan_of("placement.nodes=strict"), Cluster(LABELLED)) == ()


def test_the_second_stage_may_be_what_does_not_fit():
    """The editor's learner has two ranks, the actor's one."""
    verdict = judge(plan_of(), Cluster((node(5.3),)))
    assert not verdict.fits
    assert verdict.text == "the plan does not fit on the 1 node of the cluster"
    (line,) = verdict.missing
    assert "1 of" in line
    assert "the nodes that could hold it are full" in line
    assert judge(plan_of("stages=[{stage: actor, updates: 1}]"), Cluster((node(5.3),))).fits


def test_what_is_missing_is_said_by_role_with_the_keys_that_change_it():
    plan = plan_of("placement.nodes=strict", "editor.workers=4", "editor.cpus=2")
    verdict = judge(plan, Cluster(LABELLED))
    assert len(verdict.missing) == 1
    assert verdict.missing[0].startswith("Inverse Diffuser: 3 of 4 without room")
    assert (
        "each needs 2 CPU on a node with rlrig-role=image, and the nodes that could hold it are full"
        in verdict.missing[0]
    )
    assert "change editor.workers, editor.cpus, editor.gpus" in verdict.missing[0]
    assert refusals(plan, Cluster(LABELLED)) == verdict.missing


def test_a_label_that_no_node_has_is_said_with_those_that_there_are():
    verdict = judge(plan_of("placement.nodes=strict"), Cluster((node(8), node(8, role="vlm"))))
    image = next(line for line in verdict.missing if line.startswith("Diffuser"))
    assert "on a node with rlrig-role=image, and no node has that label (there are: vlm)" in image
    assert judge(plan_of(), Cluster((node(8), node(8, role="vlm")))).fits


def test_a_role_without_cpus_needs_its_label_all_the_same():
    verdict = judge(plan_of("placement.nodes=strict", "diffuser.cpus=0", "editor.cpus=0"), Cluster((node(9),)))
    assert {"Diffuser", "Inverse Diffuser"} <= {line.split(":")[0] for line in verdict.missing}


def test_a_need_that_no_node_meets_is_said_with_the_most_that_there_is():
    verdict = judge(plan_of("editor.gpus=1", "editor.cpus=9"), Cluster((node(6), node(8, gpus=0))))
    (line,) = verdict.missing
    assert line.startswith("Inverse Diffuser: 2 of 2 without room")
    assert "each needs 9 CPU + 1 GPU on a node, and no such node has so much: the most is 8 CPU + 0 GPU" in line


def test_an_autoscaler_is_refused_only_what_no_node_type_could_hold():
    types = (
        NodeType(node(8, role="head"), 1, head=True),
        NodeType(node(8, 1, "image"), 2),
        NodeType(node(8, 1, "vlm"), 2),
    )
    cluster = Cluster((node(8, role="head"),), types)
    plan = plan_of("placement.nodes=strict", "editor.gpus=1", "editor.workers=9")
    assert [line.split(":")[0] for line in refusals(plan, cluster)] == ["learner rank (actor)", "learner rank (editor)"]
    grown = judge(plan, cluster)
    assert not grown.fits
    assert any(line.startswith("Inverse Diffuser: 7 of 9") for line in grown.missing)
    fitting = judge(plan_of("editor.gpus=1"), cluster)
    assert fitting.fits
    assert "may bring it to (1 node now)" in fitting.text


def test_where_ray_does_not_tell_what_may_come_nothing_is_refused_and_it_is_said():
    cluster = Cluster((node(1, role="head"),), None)
    plan = plan_of("placement.nodes=strict")
    assert refusals(plan, cluster) == ()
    verdict = judge(plan, cluster)
    assert not verdict.fits
    assert "Ray does not tell which: --cluster FILE" in verdict.text


@pytest.mark.parametrize(
    ("amounts", "text"), [({"CPU": 0.1, "GPU": 1.0}, "0.1 CPU + 1 GPU"), ({"GPU": 0.0}, "nothing")]
)
def test_resources_are_written_plainly(amounts, text):
    assert resources_text(amounts) == text
