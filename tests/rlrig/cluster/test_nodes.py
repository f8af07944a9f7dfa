import socket
from collections.abc import Iterator

import pytest

from presets.errors import BadInput
from presets.planning.packing import Node
from presets.run_file import load_config
from rlrig.cluster.nodes import Cluster, NodeType, cluster_at, cluster_of, node_types
from tests.places import ROOT

PRESET = ROOT / "presets" / "tiny" / "run.yaml"


def test_the_cluster_file_says_what_may_come():
    types = {kind.node.name: kind for kind in node_types(ROOT / "cluster.yaml")}
    assert {name: kind.most for name, kind in types.items()} == {"head": 1, "image": 4, "vlm": 4, "learner": 2}
    assert [name for name, kind in types.items() if kind.head] == ["head"]
    assert types["learner"].node == Node(
        "learner", {"CPU": 48, "GPU": 4}, {"rlrig-role": "learner", "rlrig-gpu-gib": "44"}
    )


def test_the_largest_gpu_that_a_label_says_counts():
    nodes = tuple(Node(size, {"GPU": 1}, {"rlrig-gpu-gib": size}) for size in ("22.5", "80"))
    assert Cluster(nodes).gpu_gib == 80
    assert Cluster((Node("a", {"GPU": 1}),)).gpu_gib is None
    assert Cluster(types=node_types(ROOT / "cluster.yaml")).gpu_gib == 44
    with pytest.raises(BadInput, match=r"label rlrig-gpu-gib: \['much'\] are not all numbers; give GiB"):
        _ = Cluster((Node("a", {}, {"rlrig-gpu-gib": "much"}),)).gpu_gib


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("a: [", "cannot be read"),
        ("a: 1", "has no available_node_types"),
        ("available_node_types: {image: {max_workers: 2}}", "available_node_types.image has no resources"),
    ],
)
def test_a_file_that_does_not_say_it_is_refused(tmp_path, text, message):
    path = tmp_path / "cluster.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput, match=message):
        node_types(path)


def test_nodes_that_are_there_count_as_some_of_those_that_may_come():
    image = Node("image", {"CPU": 8.0})
    there = (Node("10.0.0.1", {}, {"ray.io/node-group": "image"}), Node("10.0.0.2", {}))
    cluster = Cluster(there, (NodeType(image, 3),))
    assert cluster.full_grown == (*there, image, image)
    head = NodeType(Node("head", {"CPU": 8.0}), 1, head=True)
    assert Cluster(there, (head,)).full_grown == there  # a cluster has one head, and there is one
    assert Cluster((), (head,)).full_grown == (head.node,)
    assert not Cluster((), (head,)).grows
    assert cluster.grows


def test_a_cluster_grows_only_if_something_says_so():
    plain, grouped = Node("a", {}), Node("b", {}, {"ray.io/node-group": "image"})
    assert not cluster_of((plain,)).grows
    assert cluster_of((plain, grouped)) == Cluster((plain, grouped), None)
    assert cluster_of((plain, grouped)).grows
    assert cluster_of((plain,), (NodeType(plain, 2),)).types == (NodeType(plain, 2),)


def test_an_address_of_ray_client_is_refused():
    with pytest.raises(BadInput, match=r"ray://head:10001: write HOST:6379"):
        cluster_at("ray://head:10001")


@pytest.mark.engines
def test_an_address_at_which_nothing_listens_is_refused_within_the_deadline():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadInput, match=rf"{address}: no Ray cluster said its nodes within 2 s.*HOST:6379"):
            cluster_at(address, deadline_s=2.0)


@pytest.fixture(scope="module")
def labelled_cluster() -> Iterator[str]:
    """A head without a label and a node for image models, of three CPUs each; its address."""
    from ray.cluster_utils import Cluster as RayCluster

    options = {"object_store_memory": 100 << 20}
    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 3, "include_dashboard": False, **options})
    try:
        cluster.add_node(num_cpus=3, labels={"rlrig-role": "image"}, **options)
        cluster.wait_for_nodes(120)
        yield cluster.address
    finally:
        cluster.shutdown()


FEW = "diffuser.workers=1"  # the run asks for 5.3 CPUs then


@pytest.mark.engines
def test_a_cluster_says_its_nodes_holds_a_plan_or_not_and_actors_go_where_their_label_says(labelled_cluster):
    import ray
    from typer.testing import CliRunner

    from actors.fleet import Fleet
    from actors.replica import Replica
    from presets.placement import PlacementConfig
    from rlrig.checks.preflight import check_room
    from rlrig.cli import app

    class Standing(Replica):
        """Says on which node it is."""

        def __init__(self, replica: str) -> None:
            self.replica = replica

        def node(self) -> str:
            return ray.get_runtime_context().get_node_id()

    def ask(*overrides: str) -> tuple[int, str]:
        settings = [part for override in (FEW, *overrides) for part in ("--set", override)]
        result = CliRunner().invoke(app, ["plan", str(PRESET), "--address", labelled_cluster, *settings])
        return result.exit_code, " ".join(result.output.split())

    nodes = {node.labels.get("rlrig-role"): node for node in cluster_at(labelled_cluster).nodes}
    assert {role: node.resources["CPU"] for role, node in nodes.items()} == {None: 3, "image": 3}
    code, text = ask()
    assert (code, "the plan fits on the 2 nodes" in text) == (0, True), text
    code, text = ask("placement.nodes=strict")
    assert code == 1, text
    assert "learner rank (actor): 1 of 1 without room" in text
    assert "no node has that label (there are: image)" in text

    ray.init(address=labelled_cluster, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    try:
        check_room(load_config(PRESET, ["ray.address=auto", FEW]))
        with pytest.raises(BadInput, match=r"could never hold this run(.|\n)*learner rank \(editor\): 2 of 2"):
            check_room(load_config(PRESET, ["ray.address=auto", FEW, "placement.nodes=strict"]))
        where = {node["NodeID"]: node["Labels"].get("rlrig-role") for node in ray.nodes()}

        def stand(nodes: str, count: int) -> list[str | None]:
            """The labels of the nodes on which so many actors of one CPU each were placed."""
            options = {"num_cpus": 1, **PlacementConfig(nodes=nodes).actor_options("image")}
            fleet = Fleet.start(Standing, count, options, deadline_s=240)
            try:
                return [where[node] for node in fleet.broadcast("node").values()]
            finally:
                fleet.close()

        assert stand("preferred", 2) == ["image"] * 2
        assert len(stand("preferred", 5)) == 5  # more than these nodes hold
        assert stand("strict", 3) == ["image"] * 3
    finally:
        ray.shutdown()
