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
    assert all(len(graph.requirements) == 2 for graph in prompts.train + prompts.held_out)
    assert {g.img_id for g in prompts.train}.isdisjoint(g.img_id for g in prompts.held_out)


def test_a_file_without_usable_records_is_refused_by_the_name_of_the_key(tmp_path):
    write_records(load_prompts(DataConfig(train_size=5), seed=0).train, tmp_path / "few.json")
    with pytest.raises(BadInput, match=r"data\.path: .*few\.json leaves"):
        load_prompts(DataConfig(source="laion_sg", path=str(tmp_path / "few.json"), relations=(5, 5)), seed=0)
    with pytest.raises(BadInput, match=r"data\.path: .*missing\.json"):
        load_prompts(DataConfig(source="laion_sg", path=str(tmp_path / "missing.json")), seed=0)
