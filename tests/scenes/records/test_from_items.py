"""Records of which more is required than relations, and those without relations."""

import json
from pathlib import Path

import pytest

from scenes.kinds.kinds import Attribute, Count, FreeQuestion, Presence
from scenes.laion_sg import load_records, read_record, write_records
from scenes.record_file import RecordError
from scenes.records.from_items import RELATIONS, Kinds, required
from scenes.scene_graph import Item, Relation, SceneGraph, UnusableGraph, number_repeated_names

ALL: Kinds = ("relations", "presence", "count", "attribute")
ITEMS = number_repeated_names(
    (Item(0, "apple", ("red",)), Item(1, "apple", ("red",)), Item(2, "table", ("old", "wooden")), Item(3, "lamp"))
)
GRAPH = SceneGraph("1", ITEMS, (Relation(0, "on", 2),))
WITHOUT = {"img_id": "2", "items": [{"item_id": 0, "label": "cat", "attributes": ["white"]}], "relations": []}
BARE = {"img_id": "3", "items": [{"item_id": 0, "label": "cat", "attributes": []}], "relations": []}


def saved(folder: Path, *records: object) -> Path:
    path = folder / "records.json"
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    return path


def test_relations_alone_are_what_is_required_by_default() -> None:
    assert required(GRAPH, RELATIONS) is GRAPH


def test_items_say_what_is_there_how_often_and_what_it_is_like() -> None:
    assert required(GRAPH, ALL).requirements == (
        *GRAPH.requirements,
        Count("red apple", 2),
        Presence("old wooden table"),
        Presence("lamp"),
        Attribute("table", "old"),
        Attribute("table", "wooden"),
    )
    assert required(GRAPH, ("presence",)).requirements == tuple(
        map(Presence, ("red apple", "old wooden table", "lamp"))
    )


def test_records_without_relations_are_used_where_something_else_is_required(tmp_path: Path) -> None:
    path = saved(tmp_path, GRAPH.record(), WITHOUT, BARE)
    graphs, report = load_records(path)
    assert [graph.img_id for graph in graphs] == ["1"]
    assert report.left_out["no relations"].count == 2
    graphs, report = load_records(path, ("relations", "attribute"))
    assert [graph.prompt for graph in graphs] == [
        "red apple 1 on old wooden table; table is old; table is wooden",
        "cat is white",
    ]
    assert report.left_out["none of the requirements asked for"].count == 1
    assert (report.kept, report.without_relations) == (2, 1)
    assert f"{path}: 1 of the 2 have no relations; something else is required of their pictures" in report.notes
    assert [len(graph.requirements) for graph in load_records(path, ALL)[0]] == [6, 2, 1]


def test_the_number_of_relations_is_bounded_only_where_there_are_some(tmp_path: Path) -> None:
    graphs, _ = load_records(saved(tmp_path, GRAPH.record(), WITHOUT), ALL)
    assert [graph.img_id for graph in graphs.with_relations(2, 3)] == ["2"]
    assert [graph.img_id for graph in graphs.with_relations(1, 3)] == ["1", "2"]


def test_requirements_of_other_kinds_survive_a_file(tmp_path: Path) -> None:
    asked = (Presence("cat"), Count("dog", 2), Attribute("cat", "black"), FreeQuestion("Is it day?"))
    graphs = [SceneGraph("1", ITEMS, (Relation(0, "on", 2),), asked), SceneGraph("2", (), (), asked[-1:])]
    write_records(graphs, tmp_path / "scenes.jsonl")
    read, report = load_records(tmp_path / "scenes.jsonl")
    assert list(read) == graphs
    assert report.left_out == {}


def test_a_record_says_of_which_form_its_requirements_are_not() -> None:
    for given, message in (([{"kind": "smell"}], "requirements"), ("two cats", "give a valid list")):
        with pytest.raises(RecordError, match=message):
            read_record(BARE | {"requirements": given}, "record 0")


def test_a_graph_needs_an_item_or_another_requirement() -> None:
    with pytest.raises(UnusableGraph, match="needs at least one item"):
        SceneGraph("1", (), ())
    assert SceneGraph("1", (), (), (FreeQuestion("Is it day?"),)).record()["requirements"] == [
        {"kind": "question", "question": "Is it day?"}
    ]
    assert "requirements" not in GRAPH.record()
