"""Scene graphs come back from little memory as they were, and the quick look at a record agrees with the long one."""

import random
import tracemalloc
from copy import deepcopy
from itertools import islice
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.record_files.made_records import made_record
from scenes.laion_sg import UnusableRecord, read_record
from scenes.orders import contradictions
from scenes.records.compact import Graphs, GraphStore
from scenes.scene_graph import SceneGraph
from scenes.shape_world import sample_graphs

WORDS = st.sampled_from(["cat", "cat 1", "white", "\u00e9", "e\u0301", "c\u00adat", " two  words ", "a", "b a"])
ODD = st.sampled_from(["", " ", "\u200b", "\ud800", None, 5, True, 1.0, [], {}, 2**70, -1])
PREDICATES = st.sampled_from(["on", "above", "below", "Left of", "right of", " above", "\u200babove"])


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    """Records that can be used, most of them, and such with one value changed or left out."""
    count = draw(st.integers(0, 4))
    ids = st.integers(0, max(count - 1, 0))
    items = [
        {"item_id": k, "label": draw(WORDS), "attributes": draw(st.lists(WORDS, max_size=2))} for k in range(count)
    ]
    relations = [
        {"item1": draw(ids), "relation": draw(PREDICATES), "item2": draw(ids)} for _ in range(draw(st.integers(0, 4)))
    ]
    record: dict[str, Any] = {
        "img_id": draw(st.sampled_from(["1", 1, "\u00e9"])),
        "items": items,
        "relations": relations,
    }
    if draw(st.booleans()):
        parts = [record, *items, *relations]
        part = parts[draw(st.integers(0, len(parts) - 1))]
        key = draw(st.sampled_from(sorted(part)))
        if draw(st.booleans()):
            part[key] = draw(ODD)
        else:
            del part[key]
    return record


@given(st.lists(records(), min_size=1, max_size=3))
def test_what_is_packed_is_what_the_long_way_reads(given_records: list[dict[str, Any]]) -> None:
    store, expected = GraphStore(), []
    for record in given_records:
        kept = deepcopy(record)
        packed = store.packed(record)
        assert repr(record) == repr(kept)
        try:
            graph = read_record(record, "it")
        except UnusableRecord:
            assert packed is None
            continue
        if packed is None:
            continue
        assert packed.requirements == len(graph.requirements)
        assert packed.contradicts == bool(contradictions(graph))
        store.add(packed)
        expected.append(graph)
    assert list(Graphs(store)) == expected


def test_usual_records_need_no_closer_look() -> None:
    store = GraphStore()
    for graph in islice(sample_graphs("train", 2), 50):
        assert (packed := store.packed(graph.record())) is not None
        assert store.unpacked(packed.img_id, packed.codes) == graph


def test_graphs_are_a_sequence_with_slices() -> None:
    made = list(islice(sample_graphs("train", 2), 20))
    store = GraphStore()
    for k, graph in enumerate(made):
        packed = store.packed(graph.record())
        assert packed is not None
        store.add(graph if k % 3 == 0 else packed)
    graphs = Graphs(store)
    assert list(graphs) == made
    assert [graphs[k] for k in range(-20, 20)] == made * 2
    assert list(graphs[3:17:2][1:4]) == made[3:17:2][1:4]
    assert len(graphs.where(range(5, 9))) == 4
    assert all(isinstance(graph, SceneGraph) for graph in graphs.where([7, 3])[:1])


def test_a_record_takes_little_memory() -> None:
    store, rng = GraphStore(), random.Random(0)
    made = [made_record(rng, index) for index in range(2000)]
    assert all(store.packed(record) is not None for record in made)  # which learns their words
    tracemalloc.start()
    try:
        for record in made:
            packed = store.packed(record)
            assert packed is not None
            store.add(packed)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / len(store) < 500
