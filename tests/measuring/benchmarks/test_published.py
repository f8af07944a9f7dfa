"""Prompts of benchmarks: the files as published, and what is refused of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from measuring.benchmarks.published import LOCALITIES, read_geneval, read_laion_sg, read_t2i_spatial, read_visor
from measuring.benchmarks.suite import BENCHMARKS, DATA
from measuring.benchmarks.verdicts import RULES
from presets.errors import BadInput
from tests.places import ROOT

OBJECTS = st.from_regex(r"[a-z]{2,8}( [a-z]{2,8})?", fullmatch=True).filter(
    lambda words: not any(f" {one} " in f" {words} " for one in (*LOCALITIES, "a", "an", "the", "on"))
)


def written(folder: Path, text: str) -> Path:
    file = folder / "prompts"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_shipped_prompts_are_all_read_and_stand_with_source_and_licence() -> None:
    geneval = read_geneval(DATA / "geneval_position.jsonl")
    assert len(geneval) == 100
    first = geneval[0]
    assert (first.key, first.text) == ("00000", "a photo of a dog right of a teddy bear")
    assert first.graph.prompt == first.text
    assert [one.triple for one in first.graph.requirements] == [("dog", "right of", "teddy bear")]
    spatial = read_t2i_spatial(DATA / "t2i_compbench_spatial_val.txt")
    assert len(spatial) == 300
    assert [one.triple for one in spatial[0].graph.requirements] == [("giraffe", "next to", "lamp")]
    assert {task.record["locality"] for task in spatial} <= set(LOCALITIES)
    notes = (DATA / "README.md").read_text(encoding="utf-8")
    for one in BENCHMARKS.values():
        assert one.prompt_file is None or (one.prompt_file.is_file() and one.shipped in notes)
        assert one.prompt_file is None or one.licence in notes
    assert BENCHMARKS.keys() == RULES.keys()


@given(OBJECTS, st.sampled_from(LOCALITIES), OBJECTS)
def test_a_sentence_of_t2i_compbench_gives_its_parts_back(subject: str, locality: str, other: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (task,) = read_t2i_spatial(written(Path(folder), f"a {subject} {locality} an {other}\n"))
    assert task.record == {"subject": subject, "locality": locality, "object": other}


def test_geneval_prompts_without_a_place_are_drawn_alone(tmp_path: Path) -> None:
    lines = [
        {
            "tag": "colors",
            "include": [{"class": "bird", "count": 1, "color": "red"}],
            "prompt": "a photo of a red bird",
        },
        {
            "tag": "counting",
            "include": [{"class": "cup", "count": 3}],
            "exclude": [{"class": "cup", "count": 4}],
            "prompt": "a photo of three cups",
        },
    ]
    tasks = read_geneval(written(tmp_path, "\n".join(map(json.dumps, lines))))
    assert [task.graph for task in tasks] == [None, None]
    assert [dict(task.record) for task in tasks] == lines


def test_visor_keeps_its_ids_and_leaves_out_what_asks_for_no_relation(tmp_path: Path) -> None:
    def entry(number: int, rel: str, text: str, second: str | None = "cat") -> dict[str, object]:
        sides = {"obj_1_attributes": ["person"], "obj_2_attributes": [second]}
        return {"unique_id": number, "num_objects": 1 + (second is not None), **sides, "rel_type": rel, "text": text}

    entries = [
        entry(0, "to the left of", "a person to the left of a cat"),
        entry(8, "and", "a person and a cat"),
        entry(9, "single", "a person", None),
        entry(11, "below", "a person below a cat"),
    ]
    tasks = read_visor(written(tmp_path, json.dumps(entries)))
    assert [(task.key, task.graph.requirements[0].predicate) for task in tasks] == [
        ("0", "to the left of"),
        ("11", "below"),
    ]
    with pytest.raises(BadInput, match="same unique_id"):
        read_visor(written(tmp_path, json.dumps([entries[0], entries[0]])))


def test_laion_sg_records_are_drawn_by_the_prompts_that_it_builds() -> None:
    tasks = read_laion_sg(ROOT / "tests" / "data" / "laion_sg_example.json")
    assert all(task.text == task.graph.prompt for task in tasks)
    assert all(" " in task.text for task in tasks)


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (read_geneval, "{", "line 1: is refused: no JSON"),
        (read_geneval, '{"tag": "position", "prompt": "a cat", "include": []}', "line 1: include"),
        (
            read_geneval,
            '{"tag": "p", "prompt": "x", "include": [{"class": "cat", "count": 1, "position": ["above", 0]}]}',
            r"include.0.position: \['above', 0\] is refused",
        ),
        (read_geneval, "", "it has 0 lines"),
        (read_t2i_spatial, "a cat\n", "line 1: 'a cat' is refused: it is not of the form"),
        (read_t2i_spatial, "a cat near a dog\n../../x near a dog\n", "line 2: .* names pictures by their prompts"),
        (read_t2i_spatial, "a cat_1 near a dog\n", "names pictures by their prompts"),
        (read_visor, "{}", "give a JSON array"),
        (read_visor, '[{"unique_id": -1}]', "entry 0: unique_id"),
        (read_laion_sg, "[]", "no record that can be used"),
    ],
)
def test_other_files_are_refused_with_their_place(tmp_path: Path, read, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for read in (read_geneval, read_t2i_spatial, read_visor, read_laion_sg):
        with pytest.raises(BadInput, match="nowhere"):
            read(tmp_path / "nowhere")
