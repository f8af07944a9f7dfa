from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.records.compact import Graphs, GraphStore
from scenes.records.split import SPLITS, divided, place_of_file, split_of
from scenes.scene_graph import Item, Relation, SceneGraph


def graphs_of(names: list[str], splits: list[int] | None = None) -> Graphs:
    store = GraphStore()
    for k, name in enumerate(names):
        graph = SceneGraph(name, (Item(0, "cat"), Item(1, "sofa")), (Relation(0, "on", 1),))
        store.add(graph, splits[k] if splits else -1)
    return Graphs(store)


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=30), st.integers(0, 3))
def test_splits_keep_every_record_once_and_do_not_depend_on_the_others(names: list[str], seed: int) -> None:
    splits = divided(graphs_of(names), seed)
    assert tuple(splits) == SPLITS
    assert sorted(g.img_id for part in splits.values() for g in part) == sorted(names)
    assert all(split_of(g.img_id, seed) == split for split, part in splits.items() for g in part)


def test_a_published_split_is_taken_whatever_the_hash_says() -> None:
    names = [str(k) for k in range(300)]
    parts = divided(graphs_of(names, [k % 3 for k in range(300)]))
    assert [[int(graph.img_id) % 3 for graph in parts[split]] for split in SPLITS] == [[k] * 100 for k in range(3)]


def test_splits_have_their_shares_and_change_with_the_seed() -> None:
    ids = [str(k) for k in range(4000)]
    shares = (0.7, 0.2, 0.1)
    assigned = [split_of(name, 0, shares) for name in ids]
    for split, share in zip(SPLITS, shares, strict=True):
        assert assigned.count(split) / len(ids) == pytest.approx(share, abs=0.025)
    assert assigned != [split_of(name, 1, shares) for name in ids]
    assert assigned == [split_of(name, 0, shares) for name in ids]


@pytest.mark.parametrize("shares", [(0.9, 0.1), (0.9, 0.2, 0.1), (1.1, -0.1, 0.0)])
def test_shares_that_are_no_division_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be 3 numbers from 0 that add up to 1"):
        split_of("1", 0, shares)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.json", "train"),
        ("LAION-SG_Training_2.jsonl", "train"),
        ("laion_sg_val.json", "validation"),
        ("dev.json", "validation"),
        ("test-00000-of-00002.json", "test"),
        ("contest.json", None),
        ("train_and_test.json", None),
    ],
)
def test_the_name_of_a_file_says_its_split(name: str, split: str | None) -> None:
    place = place_of_file(Path(name))
    assert (None if place is None else SPLITS[place]) == split
