from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets.planning.packing import Demand, Node, impossible, pack

LABELS = st.sampled_from([{}, {"rlrig-role": "image"}, {"rlrig-role": "vlm"}])
TENTHS = st.integers(0, 80).map(lambda tenths: tenths / 10)
GPUS = st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 4.0])


def resources(cpus: float, gpus: float) -> dict[str, float]:
    return {name: amount for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount}


NODES = st.lists(st.tuples(TENTHS, GPUS, LABELS), max_size=5).map(
    lambda kinds: [Node(f"node-{i}", resources(cpus, gpus), labels) for i, (cpus, gpus, labels) in enumerate(kinds)]
)
DEMANDS = st.lists(st.tuples(st.integers(0, 4), TENTHS, GPUS, st.integers(1, 3), LABELS), min_size=1, max_size=5).map(
    lambda kinds: [
        Demand(f"role-{i}", count, resources(cpus, gpus), bundles, labels)
        for i, (count, cpus, gpus, bundles, labels) in enumerate(kinds)
    ]
)


def tenthousandths(amount: float) -> int:
    return round(amount * 10_000)


def check(demands: Sequence[Demand], nodes: Sequence[Node]) -> dict[str, int]:
    """What `pack` found no place for, once all that it says about the rest was seen to hold."""
    packing = pack(demands, nodes)
    for demand, placed, row in zip(demands, packing.placed, packing.bundles, strict=True):
        assert 0 <= placed <= demand.count
        assert sum(row) == placed * demand.bundles  # a group is there as a whole or not at all
        for node, bundles in zip(nodes, row, strict=True):
            assert not bundles or demand.labels.items() <= node.labels.items()
    for index, node in enumerate(nodes):
        for name in ("CPU", "GPU"):
            used = sum(
                row[index] * tenthousandths(demand.bundle.get(name, 0.0))
                for demand, row in zip(demands, packing.bundles, strict=True)
            )
            assert used <= tenthousandths(node.resources.get(name, 0.0))
    assert packing.missing == {
        demand.role: demand.count - placed
        for demand, placed in zip(demands, packing.placed, strict=True)
        if demand.count > placed
    }
    return packing.missing


@given(DEMANDS, NODES)
@settings(deadline=None, max_examples=60)
def test_no_node_is_exceeded_and_what_is_placed_is_placed_entirely(demands, nodes):
    missing = check(demands, nodes)
    for demand in impossible(demands, nodes):
        assert missing[demand.role] == demand.count


@given(st.lists(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=4), min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_what_was_cut_out_of_the_nodes_is_placed_again(cuts):
    """However the pieces of full nodes are mixed: first fit would fail on some of these."""
    sizes = [[(tenths / 10, float(gpu)) for tenths, gpu in pieces] for pieces in cuts]
    nodes = [
        Node(f"node-{i}", resources(sum(cpus for cpus, _ in pieces), sum(gpus for _, gpus in pieces)))
        for i, pieces in enumerate(sizes)
    ]
    pieces = [piece for node in sizes for piece in node]
    kinds = sorted(set(pieces))
    demands = [Demand(f"role-{kind}", pieces.count(kind), resources(*kind)) for kind in kinds]
    assert check(demands, nodes) == {}


def test_a_packing_that_first_fit_does_not_find_is_found():
    nodes = [Node("a", {"CPU": 10}), Node("b", {"CPU": 10})]
    demands = [Demand("six", 1, {"CPU": 6}), Demand("five", 2, {"CPU": 5}), Demand("four", 1, {"CPU": 4})]
    assert check(demands, nodes) == {}


@pytest.mark.parametrize(("gpus", "missing"), [(4, {}), (3, {"VLM Actor": 1}), (1, {"VLM Actor": 2})])
def test_a_replica_whose_bundles_do_not_all_fit_is_not_begun(gpus, missing):
    nodes = [Node("a", {"CPU": 8, "GPU": min(gpus, 3)}), Node("b", {"CPU": 8, "GPU": max(0, gpus - 3)})]
    assert check([Demand("VLM Actor", 2, {"CPU": 0.1, "GPU": 1}, bundles=2)], nodes) == missing


def test_labels_are_demanded_of_nodes():
    demand = Demand("Diffuser", 1, {"CPU": 1}, labels={"rlrig-role": "image"})
    assert check([demand], [Node("a", {"CPU": 8}), Node("b", {"CPU": 8}, {"rlrig-role": "vlm"})]) == {"Diffuser": 1}
    assert check([demand], [Node("a", {"CPU": 8}, {"rlrig-role": "image", "zone": "1"})]) == {}


def test_nothing_fits_on_no_node_and_nothing_asked_fits_everywhere():
    assert check([Demand("Diffuser", 3, {"CPU": 1})], []) == {"Diffuser": 3}
    assert check([Demand("sender", 3, {})], [Node("a", {})]) == {}
