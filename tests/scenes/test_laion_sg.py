import json
import re
from pathlib import Path

import pytest

from scenes.laion_sg import load_records
from scenes.record_file import RecordError
from tests.places import ROOT

EXAMPLE = ROOT / "tests" / "data" / "laion_sg_example.json"


def record(**changes) -> dict:
    """A sound record in the published form, with changes to its fields."""
    return {
        "img_id": "1",
        "name": "1.jpg",
        "caption_ori": "A cat",
        "score": "6.5",
        "url": "",
        "items": [
            {"item_id": 0, "label": "cat", "attributes": ["white"], "global_item_id": 5},
            {"item_id": 1, "label": "sofa", "attributes": [], "global_item_id": 6},
        ],
        "relations": [{"triple_id": 0, "item1": 0, "relation": "on", "item2": 1, "global_relation_id": 3}],
    } | changes


@pytest.fixture
def save(tmp_path):
    def write(content, name: str = "records.json") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def test_the_example_is_read_with_prompts_as_laion_sg_builds_them():
    graphs, report = load_records(EXAMPLE)
    assert (report.kept, report.total) == (2, 3)
    assert str(report).endswith("laion_sg_example.json: 2 of 3 records can be used")
    assert report.notes[1].endswith("1 left out, no relations; the first: record 2: img_id '900003'")
    assert [graph.img_id for graph in graphs] == ["900001", "900002"]
    assert graphs[0].prompt == (
        "stone tall tower attached to stone arched bridge; red glowing lantern hanging from stone tall tower"
    )
    assert graphs[0].names == ("stone tall tower", "stone arched bridge", "red glowing lantern", "boat")


def test_items_with_the_same_name_are_told_apart():
    graphs, _ = load_records(EXAMPLE)
    assert graphs[1].prompt == "white cat 1 on green sofa; white cat 2 on green sofa; white cat 1 left of white cat 2"
    assert [r.triple for r in graphs[1].requirements][2] == ("white cat 1", "left of", "white cat 2")


def test_json_lines_and_a_number_as_img_id_are_read_too(save):
    path = save("\n".join(json.dumps(record(img_id=k)) for k in (4, 5)) + "\n\n", "records.jsonl")
    assert [graph.img_id for graph in load_records(path)[0]] == ["4", "5"]


@pytest.mark.parametrize(
    ("broken", "reason", "message"),
    [
        (record(items=None), "field 'items' is not a valid list", r"field 'items' is None; give a valid list"),
        (record(img_id=True), "field 'img_id' is not a valid string", "field 'img_id' is True; give a valid string"),
        (record(items=[]), "no items", "record '1': field 'items' is empty; a scene graph needs at least one item"),
        (
            record(items=[{"item_id": "0", "label": "cat", "attributes": []}]),
            "field 'items[].item_id' is not a valid integer",
            r"field 'items\[0\]\.item_id' is '0'; give a valid integer",
        ),
        (
            record(items=[{"item_id": 0, "label": " ", "attributes": []}]),
            "field 'items[].label' is blank",
            r"field 'items\[0\]\.label' is ' '; it needs at least one word",
        ),
        (
            record(items=[{"item_id": 0, "label": "cat", "attributes": "white"}]),
            "field 'items[].attributes' is not a valid list",
            r"field 'items\[0\]\.attributes' is 'white'; give a valid list",
        ),
        (
            record(items=[{"item_id": 0, "label": "cat"}]),
            "no field 'items[].attributes'",
            r"field 'items\[0\]\.attributes' is missing; add it",
        ),
        (
            record(relations=[{"item1": 0, "relation": "on", "item2": 9}]),
            "a relation of an item that is not there",
            r"record '1': field 'relations\[0\]\.item2' is 9, .*the item_ids are \[0, 1\]",
        ),
        (
            record(relations=[{"item1": 0, "relation": "on", "item2": 0}]),
            "a relation of an item to itself",
            r"record '1': 'relations\[0\]' relates item 0 to itself",
        ),
        (
            record(items=record()["items"] + [{"item_id": 1, "label": "dog", "attributes": []}]),
            "two items with the same item_id",
            "record '1': field 'items' uses item_id 1 twice",
        ),
        (
            record(relations=[{"item1": 0, "item2": 1}]),
            "no field 'relations[].relation'",
            r"field 'relations\[0\]\.relation' is missing",
        ),
        (
            {"img_id": "1"},
            "no field 'items'",
            r"field 'items' is missing; add it .* \(1 more problems in this record\)",
        ),
        (["not", "a record"], "not an object", r"is \['not', 'a record'\]; a record is an object"),
        (record(split="holdout"), "field 'split' is not one of train, validation, test", "field 'split' is 'holdout'"),
        (record(split=[]), "field 'split' is not a valid string", r"field 'split' is \[\]; give a valid string"),
        (record(items={"0": "cat"}), "field 'items' is not a valid list", "field 'items' is {'0': 'cat'}; give"),
        (
            record(relations=[{"item1": 0.0, "relation": "on", "item2": 1}]),
            "field 'relations[].item1' is not a valid integer",
            r"field 'relations\[0\]\.item1' is 0\.0",
        ),
    ],
)
def test_a_bad_record_costs_only_itself_and_is_told_with_field_value_and_remedy(save, broken, reason, message):
    graphs, report = load_records(save([record(), broken, record(img_id="2"), broken]))
    assert [graph.img_id for graph in graphs] == ["1", "2"]
    assert {why: found.count for why, found in report.left_out.items()} == {reason: 2}
    assert re.match(f"record 1: {message}", report.left_out[reason].first)


def test_reasons_are_told_with_the_most_frequent_first_and_a_file_of_nothing_else_is_refused(save):
    bad = [record(items=None), record(relations=[]), 5, record(relations=[])]
    with pytest.raises(RecordError, match="has no record that can be used") as caught:
        load_records(save(bad))
    lines = str(caught.value).splitlines()
    assert lines[1].endswith("records.json: 0 of 4 records can be used")
    assert lines[2].endswith("records.json: 2 left out, no relations; the first: record 1: img_id '1'")
    assert "1 left out, not an object; the first: record 2: is 5; a record is an object" in lines[4]
    with pytest.raises(RecordError, match="it holds no records at all"):
        load_records(save("[ ]\n"))


def test_a_relation_that_contradicts_another_costs_its_record(save):
    circle = [{"item1": a, "relation": "above", "item2": b} for a, b in ((0, 1), (1, 0))]
    chain = [{"item1": 0, "relation": "above", "item2": 1}, {"item1": 1, "relation": "left of", "item2": 0}]
    for given in (
        record(relations=circle),
        record(img_id="\u00e9", relations=circle),
    ):  # the short way and the long one
        graphs, report = load_records(save([given, record(img_id="2", relations=chain)]))
        assert [graph.img_id for graph in graphs] == ["2"]
        assert "these two cannot both hold: white cat above" in report.left_out["relations that cannot all hold"].first


def test_broken_json_is_named_with_its_line(save):
    with pytest.raises(RecordError, match=r"records\.json, line 3, column 1: broken JSON.* near "):
        load_records(save('[\n{"img_id": "1"}\n'))
    with pytest.raises(
        RecordError, match=r"line 2, column 1: broken JSON.* near .*, after 1 records.*Fetch the file again"
    ):
        load_records(save(f"[{json.dumps(record())},\nimg_id: 1]"))


def test_a_line_that_is_no_json_costs_only_itself(save):
    lines = [json.dumps(record(img_id=str(k))) for k in range(4)]
    lines[1:3] = ["{img_id: 1}", lines[2][:-5]]
    graphs, report = load_records(save("\n".join(lines), "records.jsonl"))
    assert [graph.img_id for graph in graphs] == ["0", "3"]
    assert report.notes[1].endswith("2 left out, it is broken JSON; the first: line 2")


def test_an_empty_a_missing_and_an_undecodable_file_are_refused(save, tmp_path):
    with pytest.raises(RecordError, match="the file is empty"):
        load_records(save(" \n"))
    with pytest.raises(FileNotFoundError, match=r"absent\.json: there is no such file"):
        load_records(tmp_path / "absent.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match=r"the folder has no \.json or \.jsonl files"):
        load_records(tmp_path / "empty")
    (tmp_path / "latin.json").write_bytes('["café"]'.encode("latin-1"))
    with pytest.raises(RecordError, match="1 left out, it is not UTF-8; the first: record 0"):
        load_records(tmp_path / "latin.json")


def named(label: str, **changes) -> dict:
    return record(items=[{"item_id": 0, "label": label, "attributes": []}, *record()["items"][1:]], **changes)


def test_of_records_with_the_same_id_the_first_that_can_be_used_counts(save):
    given = [record(img_id="7", items=[]), named("dog", img_id="7"), record(), record(img_id=7), record(img_id="7")]
    graphs, report = load_records(save(given))
    assert [(graph.img_id, graph.items[0].label) for graph in graphs] == [("7", "dog"), ("1", "cat")]
    assert "2 left out, an img_id that occurred before; the first: record 3: img_id '7'" in report.notes[1]


def test_a_folder_has_a_file_for_each_split_and_what_is_in_training_is_in_no_other(save, tmp_path):
    save([record(img_id="1"), record(img_id="2")], "LAION-SG_test.json")
    save(json.dumps(record(img_id="3")), "laion_val.jsonl")
    save([record(img_id="2"), record(img_id="4"), record(img_id="5", split="dev")], "train-00000-of-00001.json")
    save([record(img_id="6")], "contest.json")
    graphs, report = load_records(tmp_path)
    assert [(graph.img_id, graphs.store.splits[k]) for k, graph in enumerate(graphs)] == [
        *(("2", 0), ("4", 0), ("5", 1), ("3", 1), ("1", 2))
    ]
    first = report.left_out["an img_id that occurred before"].first
    assert first == "LAION-SG_test.json, record 1: img_id '2'"
    assert report.notes[-1].endswith("contest.json not read, as no split (train, validation, test) is in the name")


def test_files_of_a_folder_whose_names_say_no_split_are_read_as_one(save, tmp_path):
    save([record(img_id="1")], "a.json")
    save([record(img_id="2", split="test")], "b.json")
    graphs, report = load_records(tmp_path)
    assert [graphs.store.splits[k] for k in range(2)] == [-1, 2]
    assert len(report.notes) == 1
    assert "so a hash divides what records do not say" in report.notes[0]


@pytest.mark.parametrize("label", ["\u200b", "\u2060\ufeff", "\u3164", "\u00ad \u200d", "\u0301", "\ud800"])
def test_a_record_with_a_name_that_nobody_can_see_is_left_out_and_told(save, label):
    graphs, report = load_records(save([record(), named(label, img_id="2")]))
    assert [graph.img_id for graph in graphs] == ["1"]
    assert "the first: record 1: field 'items[0].label' is" in report.notes[1]
    assert ("it cannot be written" if label == "\ud800" else "nothing of it can be seen") in report.notes[1]


@pytest.mark.parametrize("name", ["records.json", "records.jsonl"])
def test_a_number_with_thousands_of_digits_costs_only_its_record(save, name):
    lines = [
        json.dumps(record()),
        json.dumps(record(img_id="2", score=0)).replace('"score": 0', f'"score": {"9" * 5000}'),
    ]
    graphs, report = load_records(save("\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]", name))
    assert [graph.img_id for graph in graphs] == ["1"]
    assert "1 left out, a number has more than 4300 digits; the first: " in report.notes[1]
    assert report.notes[1].endswith("line 2" if name.endswith("l") else "record 1")


def test_an_id_that_cannot_be_written_costs_only_its_record(save):
    graphs, report = load_records(save([record(), record(img_id="\ud800")]))
    assert (len(graphs), report.total) == (1, 2)


@pytest.mark.parametrize("name", ["records.json", "records.jsonl"])
def test_a_record_that_is_nested_too_deep_costs_only_itself(save, name):
    nested = "[" * 50_000 + '"]}[\\""' + "]" * 50_000
    lines = [json.dumps(record(img_id=str(k), score=0)) for k in range(3)]
    lines[1] = lines[1].replace('"score": 0', f'"score": {nested}')
    graphs, report = load_records(save("\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]", name))
    assert [graph.img_id for graph in graphs] == ["0", "2"]
    assert "it is nested too deep" in report.left_out


def test_names_are_read_as_they_are_seen(save):
    graphs, _ = load_records(save([named("cafe\u0301\u200b  table\n"), named("caf\u00e9 table", img_id="2")]))
    assert {graph.items[0].label for graph in graphs} == {"caf\u00e9 table"}
    twins = [{"item_id": k, "label": label, "attributes": []} for k, label in enumerate(["cat", "c\u00adat"])]
    assert load_records(save([record(items=twins)]))[0][0].names == ("cat 1", "cat 2")


def test_an_array_has_nothing_behind_it(save):
    one = json.dumps(record())
    for text in (f"[] {one}", f"[{one},]", f"[,{one}]", f"[{one} {one}]", f"[{one}", "["):
        with pytest.raises(RecordError, match="broken JSON"):
            load_records(save(text))
