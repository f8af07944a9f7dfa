"""A benchmark's folder: drawn, gone on with, refused where it was made otherwise, and measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from measuring.benchmarks.numbers import Eye, score_pictures
from measuring.benchmarks.pictures import FACTS, Folder, Wanted, draw_missing, is_whole, protocol_of, settle
from measuring.benchmarks.published import read_geneval, read_t2i_spatial
from measuring.benchmarks.suite import BENCHMARKS, DATA, Benchmark
from measuring.benchmarks.task import Task, related
from presets.errors import BadInput
from presets.run_file import load_config
from scenes.detected.boxes import Box, Detection
from tests.places import PRESET
from tests.rollout.scripted_models import ScriptedModels

GENEVAL = read_geneval(DATA / "geneval_position.jsonl")


def folder_of(path: Path, name: str, tasks: list[Task], n: int = 2) -> Folder:
    return Folder(path, BENCHMARKS[name], tasks, n)


def files(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def test_geneval_s_layout_with_its_metadata_for_both_images(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "geneval-position", GENEVAL[:2])
    models = ScriptedModels(threshold=250)  # no edit is good enough, so both turns are used
    assert draw_missing(models, folder, turns=2, drawings=1) == 4
    expected = [
        f"{images}/0000{place}/{file}"
        for images in ("diffuser", "loop")
        for place in (0, 1)
        for file in ("metadata.jsonl", "samples/0000.png", "samples/0001.png")
    ]
    assert files(tmp_path) == sorted([*expected, FACTS])
    metadata = (tmp_path / "loop" / "00001" / "metadata.jsonl").read_text(encoding="utf-8")
    assert json.loads(metadata) == GENEVAL[1].record
    facts = [json.loads(line) for line in (tmp_path / FACTS).read_text(encoding="utf-8").splitlines()]
    assert [(one["key"], one["k"], one["seed"]) for one in facts] == [
        ("00000", 0, 42), ("00000", 1, 43), ("00001", 0, 42), ("00001", 1, 43)
    ]  # fmt: skip


def test_what_is_there_whole_is_not_drawn_again_and_what_is_damaged_is(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "geneval-position", GENEVAL[:2])
    draw_missing(ScriptedModels(), folder, turns=1, drawings=1)
    hurt = folder.file("loop", Wanted(GENEVAL[1], 1, 0))
    hurt.write_bytes(hurt.read_bytes()[:40])
    assert not is_whole(hurt)
    before = {file: (tmp_path / file).stat().st_mtime_ns for file in files(tmp_path) if file.endswith("0001.png")}
    again = ScriptedModels()
    assert draw_missing(again, folder, turns=1, drawings=1) == 1
    assert is_whole(hurt)
    assert before == {file: (tmp_path / file).stat().st_mtime_ns for file in before}
    assert draw_missing(ScriptedModels(), folder, turns=1, drawings=1) == 0


def test_pictures_of_t2i_compbench_are_called_by_prompt_and_running_number(tmp_path: Path) -> None:
    tasks = read_t2i_spatial(DATA / "t2i_compbench_spatial_val.txt")[:2]
    draw_missing(ScriptedModels(), folder_of(tmp_path, "t2i-compbench-spatial", tasks), turns=1, drawings=1)
    assert [file for file in files(tmp_path) if file.startswith("loop")] == [
        "loop/samples/a giraffe next to a lamp_000000.png",
        "loop/samples/a giraffe next to a lamp_000001.png",
        "loop/samples/a girl on the top of a frog_000002.png",
        "loop/samples/a girl on the top of a frog_000003.png",
    ]


def test_the_diffuser_gets_the_prompt_as_published_and_the_loop_its_relation(tmp_path: Path) -> None:
    models = ScriptedModels(threshold=250)
    draw_missing(models, folder_of(tmp_path, "geneval-position", GENEVAL[:1], 1), turns=1, drawings=1)
    assert models.drawn == ["a photo of a dog right of a teddy bear"]
    (task,) = GENEVAL[:1]
    assert task.graph is not None
    assert [one.text for one in task.graph.requirements] == ["dog right of teddy bear"]


def test_a_prompt_without_a_relation_is_drawn_alone(tmp_path: Path) -> None:
    task = Task("00000", "a photo of a cat", None, {"tag": "single_object", "include": [{"class": "cat", "count": 1}]})
    models = ScriptedModels()
    draw_missing(models, folder_of(tmp_path, "geneval", [task], 1), turns=2, drawings=1)
    assert not models.asked
    first, last = (np.asarray(Image.open(tmp_path / name / "00000/samples/0000.png")) for name in ("diffuser", "loop"))
    assert (first == last).all()


def test_a_folder_that_was_made_otherwise_is_refused_and_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "geneval-position", GENEVAL[:2])
    prompts = DATA / "geneval_position.jsonl"
    protocol = protocol_of(load_config(PRESET), folder, prompts)
    assert (protocol["images_a_prompt"], protocol["seed"]) == (2, "42 + k")
    assert protocol["drawing"] == {"steps": 24, "guidance": 1.0}
    settle(folder, protocol)
    settle(folder, protocol_of(load_config(PRESET), folder, prompts))
    wide = protocol_of(load_config(PRESET, ["diffuser.width=96"]), folder, prompts)
    assert (protocol["size"], wide["size"]) == ("64x64", "96x64")
    other = protocol_of(load_config(PRESET, ["diffuser.steps=9"]), folder, prompts)
    with pytest.raises(BadInput, match=r"drawing was {'steps': 24.* and is {'steps': 9.*use another folder"):
        settle(folder, other)
    (tmp_path / "protocol.json").write_text("{", encoding="utf-8")
    with pytest.raises(BadInput, match=r"protocol.json cannot be read"):
        settle(folder, protocol)


def _eye(boxes: dict[str, Box]) -> Eye:
    """Finds these things in pictures that are not black."""

    def find(images, phrases):
        return [
            [Detection(one, boxes[one], 0.8) for one in asked if one in boxes and image.any()]
            for image, asked in zip(images, phrases, strict=True)
        ]

    return Eye(find, "stub", 0.1)


def test_visor_s_numbers_by_prompt_and_the_file_that_its_script_reads(tmp_path: Path) -> None:
    def task(key: str, rel: str) -> Task:
        record = {
            "obj_1_attributes": ["cat"],
            "obj_2_attributes": ["dog"],
            "rel_type": rel,
            "text": f"a cat {rel} a dog",
        }
        return Task(key, record["text"], related(key, record["text"], "cat", rel, "dog"), record)

    folder = folder_of(tmp_path, "visor", [task("5", "to the left of"), task("9", "above")], 4)
    draw_missing(ScriptedModels(), folder, turns=1, drawings=1)
    for k in (0, 1):  # of the first prompt, two pictures show nothing
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "diffuser" / f"5_{k}.png")
    eye = _eye({"cat": Box(0, 20, 20, 40), "dog": Box(40, 20, 60, 40)})
    metrics, scores = score_pictures(folder, eye)
    assert metrics["loop"] == {
        "our_oa": 1.0,
        "our_visor_uncond": 0.5,
        "our_visor_cond": 0.5,
        **{f"our_visor_{k}": 0.5 for k in (1, 2, 3, 4)},
        "pictures": 8,
        "missing": 0,
    }
    drawn = metrics["diffuser"]
    assert (drawn["our_oa"], drawn["our_visor_uncond"]) == (0.75, 0.25)
    assert drawn["our_visor_cond"] == pytest.approx(1 / 3)
    assert [drawn[f"our_visor_{k}"] for k in (1, 2, 3, 4)] == [0.5, 0.5, 0, 0]
    assert scores["diffuser"]["our_visor_uncond"] == {"5": 0.5, "9": 0.0}
    results = json.loads((tmp_path / "od" / "results_diffuser_text_spatial_rel_phrases_stub_0.1.json").read_text())
    assert results.keys() == {f"{key}_{k}" for key in (5, 9) for k in range(4)}
    assert results["5_3"] == {
        "classes": ["cat", "dog"], "centroid": [[10, 30], [50, 30]], "recall": 2, "sra": 1,
        "text": "a cat to the left of a dog",
    }  # fmt: skip
    verdicts = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert len(verdicts) == 16
    assert {one["why"] for one in verdicts} == {"", "not above", "not both objects found"}


def test_geneval_s_overall_score_is_the_mean_of_its_tags_and_a_given_folder_may_lack_pictures(tmp_path: Path) -> None:
    def task(number: int, tag: str, name: str) -> Task:
        return Task(
            f"{number:05}", f"a photo of a {name}", None, {"tag": tag, "include": [{"class": name, "count": 1}]}
        )

    tasks = [task(0, "single_object", "cat"), task(1, "colors", "cat"), task(2, "colors", "fish")]
    folder = folder_of(tmp_path, "geneval", tasks, 1)
    for number in (0, 1, 2):
        file = tmp_path / f"0000{number}" / "samples" / "0000.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(file)
    metrics, _ = score_pictures(folder, _eye({"cat": Box(0, 0, 30, 30)}), given=True)
    assert metrics["pictures"] == {
        "our_geneval": 0.75, "our_geneval_single_object": 1.0, "our_geneval_colors": 0.5, "pictures": 3, "missing": 0
    }  # fmt: skip
    file.unlink()
    assert score_pictures(folder, _eye({}), given=True)[0]["pictures"]["missing"] == 1


def test_every_benchmark_gives_each_picture_a_place_of_its_own_within_the_folder(tmp_path: Path) -> None:
    tasks = {"geneval": GENEVAL, "t2i-compbench-spatial": read_t2i_spatial(DATA / "t2i_compbench_spatial_val.txt")}
    for benchmark in BENCHMARKS.values():
        assert isinstance(benchmark, Benchmark)
        folder = Folder(tmp_path, benchmark, tasks.get(benchmark.name, GENEVAL), benchmark.images)
        places = [folder.file("loop", one) for one in folder.all]
        assert len(set(places)) == len(places)
        assert all(place.resolve().is_relative_to(tmp_path.resolve() / "loop") for place in places)
