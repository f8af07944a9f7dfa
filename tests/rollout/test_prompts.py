import json
from pathlib import Path

import pytest

from presets.data import DataConfig
from presets.errors import BadInput
from rollout.prompts import Prompts, load_prompts
from scenes.laion_sg import write_records


def test_every_pass_of_the_stream_takes_each_prompt_once_in_an_order_of_its_own():
    prompts = load_prompts(DataConfig(train_size=10, held_out_size=3), seed=4)
    first, second = ([prompts.at(start + k).img_id for k in range(10)] for start in (0, 10))
    assert sorted(first) == sorted(second) == sorted(graph.img_id for graph in prompts.train)
    assert first != second
    assert load_prompts(DataConfig(train_size=10, held_out_size=3), seed=4).at(13).img_id == second[3]


def test_training_and_held_out_combinations_are_disjoint():
    prompts = load_prompts(DataConfig(train_size=300, held_out_size=100), seed=0)
    seen = {frozenset(graph.names) for graph in prompts.train}
    assert all(frozenset(graph.names) not in seen for graph in prompts.held_out)


def test_records_from_a_file_are_split_and_limited_to_the_relations_that_are_asked_for(tmp_path):
    source = load_prompts(DataConfig(relations=(1, 3), train_size=200), seed=0)
    write_records(source.train, tmp_path / "records.json")
    data = DataConfig(source="laion_sg", path=str(tmp_path / "records.json"), relations=(2, 2))
    prompts = load_prompts(data, seed=0)
    assert isinstance(prompts, Prompts)
    assert all(len(graph.requirements) == 2 for graph in [*prompts.train, *prompts.held_out])
    assert {g.img_id for g in prompts.train}.isdisjoint(g.img_id for g in prompts.held_out)


def test_a_file_without_usable_records_is_refused_by_the_name_of_the_key(tmp_path):
    write_records(load_prompts(DataConfig(train_size=5), seed=0).train, tmp_path / "few.json")
    with pytest.raises(BadInput, match=r"(?s)data\.path: .*few\.json leaves.* of 5 usable records have fewer or more"):
        load_prompts(DataConfig(source="laion_sg", path=str(tmp_path / "few.json"), relations=(5, 5)), seed=0)
    with pytest.raises(BadInput, match=r"data\.path: .*missing\.json"):
        load_prompts(DataConfig(source="laion_sg", path=str(tmp_path / "missing.json")), seed=0)


def records(first: int, count: int) -> list[dict]:
    graphs = load_prompts(DataConfig(train_size=count), seed=0).train
    return [graph.record() | {"img_id": first + k} for k, graph in enumerate(graphs)]


def test_the_published_split_of_a_folder_is_kept_and_evaluation_may_see_either_part(tmp_path: Path) -> None:
    for first, name in ((0, "train.json"), (100, "val.json"), (200, "test.json")):
        (tmp_path / name).write_text(json.dumps(records(first, 20)))
    for split, first in (("test", 200), ("validation", 100)):
        data = DataConfig(source="laion_sg", path=str(tmp_path), relations=(1, 5), held_out_split=split)
        prompts = load_prompts(data, seed=3)
        assert [int(graph.img_id) for graph in prompts.train] == list(range(20))
        assert [int(graph.img_id) for graph in prompts.held_out] == list(range(first, first + 20))
    (tmp_path / "val.json").unlink()
    with pytest.raises(BadInput, match=r"\(20 train, 0 validation, 20 test\); .* change data\.held_out_split"):
        load_prompts(data, seed=3)


def test_what_is_left_out_is_told_with_the_reasons(tmp_path: Path) -> None:
    given = records(0, 60)
    given[7] = {"img_id": 7}
    given[9]["img_id"] = 8
    file = tmp_path / "odd.json"
    file.write_text(json.dumps(given))
    usual = load_prompts(DataConfig(source="laion_sg", path=str(file), relations=(1, 5)), seed=0)
    assert [note.removeprefix(f"{file}: ") for note in usual.notes] == [
        "58 of 60 records can be used",
        "1 left out, no field 'items'; the first: record 7: field 'items' is missing; add it as LAION-SG publishes it "
        "(1 more problems in this record)",
        "1 left out, an img_id that occurred before; the first: record 9: img_id '8'",
    ]
    file.write_text(json.dumps(records(0, 60)))
    assert load_prompts(DataConfig(source="laion_sg", path=str(file), relations=(1, 5)), seed=0).notes == ()


def test_records_without_relations_are_prompts_where_something_else_is_required(tmp_path: Path) -> None:
    given = [one | ({"relations": []} if k % 2 else {}) for k, one in enumerate(records(0, 40))]
    (tmp_path / "train.json").write_text(json.dumps(given[:20]))
    (tmp_path / "test.json").write_text(json.dumps(given[20:]))
    data = DataConfig(source="laion_sg", path=str(tmp_path), relations=(1, 5))
    assert len(load_prompts(data, seed=0).train) == 10
    prompts = load_prompts(data.model_copy(update={"requirements": ("relations", "presence", "attribute")}), seed=0)
    assert len(prompts.train) == 20
    assert sum(not graph.relations for graph in prompts.held_out) == 10
    assert {one.kind for graph in prompts.train for one in graph.requirements} == {"relation", "presence", "attribute"}
    assert any("20 of the 40 have no relations" in note for note in prompts.notes)
