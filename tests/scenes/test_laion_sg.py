import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenes.laion_sg import SPLITS, load_records, split_of, split_records, write_records
from scenes.record_file import RecordError
from scenes.scene_graph import Item, Relation, SceneGraph
from scenes.shape_world import sample_graphs
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
    assert (report.kept, report.dropped_without_relations) == (2, 1)
    assert str(report).endswith("laion_sg_example.json: 2 records kept, 1 without relations dropped")
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
    ("broken", "message"),
    [
        (record(items=None), r"record 1: field 'items' is None; give a valid list"),
        (record(img_id=True), "record 1: field 'img_id' is True; give a valid string"),
        (record(items=[]), "record 1: record '1': field 'items' is empty; a scene graph needs at least one item"),
        (
            record(items=[{"item_id": "0", "label": "cat", "attributes": []}]),
            r"record 1: field 'items\[0\]\.item_id' is '0'; give a valid integer",
        ),
        (
            record(items=[{"item_id": 0, "label": " ", "attributes": []}]),
            r"record 1: field 'items\[0\]\.label' is ' '; it needs at least one word",
        ),
        (
            record(items=[{"item_id": 0, "label": "cat", "attributes": "white"}]),
            r"record 1: field 'items\[0\]\.attributes' is 'white'; give a valid list",
        ),
        (
            record(items=[{"item_id": 0, "label": "cat"}]),
            r"record 1: field 'items\[0\]\.attributes' is missing; add it",
        ),
        (
            record(relations=[{"item1": 0, "relation": "on", "item2": 9}]),
            r"record 1: record '1': field 'relations\[0\]\.item2' is 9, .*the item_ids are \[0, 1\]",
        ),
        (record(relations=[{"item1": 0, "item2": 1}]), r"record 1: field 'relations\[0\]\.relation' is missing"),
        ({"img_id": "1"}, r"record 1: field 'items' is missing; add it .* \(1 more problems in this record\)"),
        (["not", "a record"], r"record 1: is \['not', 'a record'\]; a record is an object"),
    ],
)
def test_a_bad_record_is_named_with_file_record_field_value_and_remedy(save, broken, message):
    path = save([record(), broken])
    with pytest.raises(RecordError, match=message) as caught:
        load_records(path)
    assert str(caught.value).startswith(f"{path}, record 1: ")


def test_broken_json_is_named_with_its_line(save):
    with pytest.raises(RecordError, match=r"records\.json, line 3, column 1: broken JSON.* near "):
        load_records(save('[\n{"img_id": "1"}\n'))
    with pytest.raises(RecordError, match=r"records\.jsonl, line 2, column 2: broken JSON.*one whole record a line"):
        load_records(save(json.dumps(record()) + "\n{img_id: 1}\n", "records.jsonl"))


def test_an_empty_a_missing_and_an_undecodable_file_are_refused(save, tmp_path):
    with pytest.raises(RecordError, match="the file is empty"):
        load_records(save(" \n"))
    with pytest.raises(FileNotFoundError, match=r"absent\.json: there is no such file"):
        load_records(tmp_path / "absent.json")
    (tmp_path / "latin.json").write_bytes('["café"]'.encode("latin-1"))
    with pytest.raises(RecordError, match="byte 5 is not UTF-8"):
        load_records(tmp_path / "latin.json")


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=30), st.integers(0, 3))
def test_splits_keep_every_record_once_and_do_not_depend_on_the_others(names, seed):
    items = (Item(0, "cat"), Item(1, "sofa"))
    graphs = [SceneGraph(name, items, (Relation(0, "on", 1),)) for name in names]
    splits = split_records(graphs, seed)
    assert tuple(splits) == SPLITS
    assert sorted(g.img_id for part in splits.values() for g in part) == sorted(names)
    assert all(split_of(g.img_id, seed) == split for split, part in splits.items() for g in part)


def test_splits_have_their_shares_and_change_with_the_seed():
    ids = [str(k) for k in range(4000)]
    shares = (0.7, 0.2, 0.1)
    assigned = [split_of(name, 0, shares) for name in ids]
    for split, share in zip(SPLITS, shares, strict=True):
        assert assigned.count(split) / len(ids) == pytest.approx(share, abs=0.025)
    assert assigned != [split_of(name, 1, shares) for name in ids]
    assert assigned == [split_of(name, 0, shares) for name in ids]


@pytest.mark.parametrize("shares", [(0.9, 0.1), (0.9, 0.2, 0.1), (1.1, -0.1, 0.0)])
def test_shares_that_are_no_division_are_refused(shares):
    with pytest.raises(ValueError, match="must be 3 numbers from 0 that add up to 1"):
        split_of("1", 0, shares)


@pytest.mark.parametrize("name", ["scenes.json", "scenes.jsonl"])
def test_shape_world_graphs_survive_a_file_in_laion_sg_form(tmp_path, name):
    graphs = list(islice(sample_graphs("train", 1), 20))
    assert write_records(graphs, tmp_path / name) == 20
    read, report = load_records(tmp_path / name)
    assert read == graphs
    assert report.dropped_without_relations == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_numbered_items_and_unusual_characters_survive_a_file(tmp_path):
    graphs, _ = load_records(EXAMPLE)
    odd = SceneGraph("é\u2028", (Item(0, "Käse"), Item(1, "Brot\u2028")), (Relation(0, "auf", 1),))
    write_records([*graphs, odd], tmp_path / "scenes.jsonl")
    read = load_records(tmp_path / "scenes.jsonl")[0]
    assert read[:2] == graphs
    assert read[2].img_id == "é\u2028"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "scenes.json"
    graphs, _ = load_records(EXAMPLE)
    write_records(graphs, path)

    def disk_full(self, text, **_):
        with open(self, "w", encoding="utf-8") as file:
            file.write(text[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_records(graphs[:1], path)
    assert len(load_records(path)[0]) == 2
    assert list(tmp_path.iterdir()) == [path]


def named(label: str, **changes) -> dict:
    return record(items=[{"item_id": 0, "label": label, "attributes": []}, *record()["items"][1:]], **changes)


def test_records_with_the_same_id_are_all_kept_counted_and_in_one_split(save):
    graphs, report = load_records(save([record(img_id="7"), record(), record(img_id=7), record(img_id="7")]))
    assert [graph.img_id for graph in graphs] == ["7", "1", "7 (repeat 1)", "7 (repeat 2)"]
    assert report.repeated == {"7": 3}
    assert "1 img_ids occur more than once: '7' 3 times; each record counts" in report.notes[0]
    assert all(len({split_of(g.img_id, seed) for g in graphs if g.img_id != "1"}) == 1 for seed in range(30))


def test_an_id_that_looks_like_a_repeat_is_not_lost(save):
    ids = ["7", "7 (repeat 1)", "7", "7"]
    assert len({graph.img_id for graph in load_records(save([record(img_id=one) for one in ids]))[0]}) == 4


@pytest.mark.parametrize("label", ["\u200b", "\u2060\ufeff", "\u3164", "\u00ad \u200d", "\u0301", "\ud800"])
def test_a_record_with_a_name_that_nobody_can_see_is_left_out_and_told(save, label):
    graphs, report = load_records(save([record(), named(label, img_id="2")]))
    assert [graph.img_id for graph in graphs] == ["1"]
    assert "1 records are left out: record 1: field 'items[0].label' is" in report.notes[0]
    assert ("it cannot be written" if label == "\ud800" else "nothing of it can be seen") in report.notes[0]


@pytest.mark.parametrize("name", ["records.json", "records.jsonl"])
def test_a_number_with_thousands_of_digits_costs_only_its_record(save, name):
    lines = [
        json.dumps(record()),
        json.dumps(record(img_id="2", score=0)).replace('"score": 0', f'"score": {"9" * 5000}'),
    ]
    graphs, report = load_records(save("\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]", name))
    assert [graph.img_id for graph in graphs] == ["1"]
    assert "record 1: the number 99999999999999999999… has 5000 digits" in report.notes[0]


def test_an_id_that_cannot_be_written_costs_only_its_record(save):
    graphs, report = load_records(save([record(), record(img_id="\ud800")]))
    assert (len(graphs), len(report.left_out)) == (1, 1)


def test_a_record_that_is_nested_too_deep_is_refused_with_its_line(save):
    deep = json.dumps(record(score=0)).replace('"score": 0', f'"score": {"[" * 100_000}{"]" * 100_000}')
    with pytest.raises(RecordError, match=r"line 2: a record is nested too deep"):
        load_records(save(f"[{json.dumps(record())},\n{deep}]"))


def test_names_are_read_as_they_are_seen(save):
    graphs, _ = load_records(save([named("cafe\u0301\u200b  table\n"), named("caf\u00e9 table", img_id="2")]))
    assert {graph.items[0].label for graph in graphs} == {"caf\u00e9 table"}
    twins = [{"item_id": k, "label": label, "attributes": []} for k, label in enumerate(["cat", "c\u00adat"])]
    assert load_records(save([record(items=twins)]))[0][0].names == ("cat 1", "cat 2")


def test_an_array_may_be_empty_and_has_nothing_behind_it(save):
    assert load_records(save("[ ]\n"))[0] == []
    one = json.dumps(record())
    for text in (f"[] {one}", f"[{one},]", f"[,{one}]", f"[{one} {one}]", f"[{one}", "["):
        with pytest.raises(RecordError, match="broken JSON"):
            load_records(save(text))
