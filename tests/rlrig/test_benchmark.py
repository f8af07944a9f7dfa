"""`rlrig eval --benchmark`: the small models draw records of LAION-SG, go on with a folder, and are measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from measuring.measures import MeasureOptions
from presets.errors import BadInput
from presets.run_file import load_config
from rlrig import benchmark
from rlrig.benchmark import Asked, measure_benchmark
from rlrig.cli import app
from rollout.progress import Progress
from scenes.laion_sg import write_records
from scenes.shape_world import sample_scene
from tests.places import PRESET
from tests.scenes.detected.seen import find_shapes

NO_MEASURE = MeasureOptions()


@pytest.fixture
def records(tmp_path: Path) -> Path:
    file = tmp_path / "records.jsonl"
    rng = np.random.default_rng(0)
    write_records([sample_scene(rng, img_id=f"scene-{k}", relations=(2, 2)).graph for k in range(3)], file)
    return file


def test_the_small_models_draw_a_benchmark_go_on_with_it_and_are_measured(
    tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from measuring.benchmarks.numbers import Eye

    config, out, told = (
        load_config(PRESET, ["rollout.turns=1", "diffuser.steps=2", "editor.steps=2"]),
        tmp_path / "out",
        [],
    )

    class Heard(Progress):
        def note(self, text: str) -> None:
            told.append(text)

    first = measure_benchmark(config, None, Asked("laion-sg", records, prompts=2, out=out), NO_MEASURE, Heard())
    assert first == {"benchmark": "laion-sg", "prompts": 2, "folder": str(out)}
    pictures = sorted(str(file.relative_to(out)) for file in out.rglob("*.png"))
    assert pictures == [f"{images}/scene-{k}_0.png" for images in ("diffuser", "loop") for k in (0, 1)]
    assert "2 of 2 pictures are missing" in " ".join(told)

    monkeypatch.setattr(benchmark, "_eye", lambda *_: Eye(find_shapes, "shapes", 0.1))
    found = measure_benchmark(config, None, Asked("laion-sg", records, out=out), NO_MEASURE, Heard())
    assert "1 of 3 pictures are missing" in " ".join(told)
    for images in ("diffuser", "loop"):
        assert found[images]["pictures"] == 3
        assert 0 <= found[images]["our_sg_iou"] <= 1
    written = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert written["measured_by"] == {"ours": True, "detector": "shapes", "threshold": 0.1}
    assert written["scores"]["loop"]["our_satisfied"].keys() == {"scene-0", "scene-1", "scene-2"}

    other = load_config(PRESET, ["rollout.turns=2", "diffuser.steps=2", "editor.steps=2"])
    with pytest.raises(BadInput, match="turns was 1 and is 2; use another folder"):
        measure_benchmark(other, None, Asked("laion-sg", records, out=out), NO_MEASURE, Heard())

    given = Asked("laion-sg", records, pictures=out / "loop")
    assert measure_benchmark(config, None, given, NO_MEASURE, Heard())["pictures"] == found["loop"]


@pytest.mark.parametrize(
    ("asked", "measures", "says"),
    [
        (Asked("visor"), NO_MEASURE, "--prompt-file: is missing; the prompts of visor do not come with the code"),
        (Asked("geneval-position", prompts=2), NO_MEASURE, "the models do not know 'teddy bear', 'dog'"),
        (Asked("laion-sg", pictures=Path("x")), NO_MEASURE, "--pictures: needs what measures them"),
        (
            Asked("geneval-position"),
            MeasureOptions("openai", "http://127.0.0.1:9/v1", "eye"),
            "--benchmark: is measured by --extractor detector alone",
        ),
        (
            Asked("geneval-position"),
            MeasureOptions("detector", extractor_model="/nowhere"),
            "--extractor-model: '/nowhere' is refused",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked, measures: MeasureOptions, says: str
) -> None:
    def loaded(*_: Any) -> Any:
        raise AssertionError("models were loaded")

    monkeypatch.setattr(benchmark, "players", loaded)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=says):
        measure_benchmark(load_config(PRESET), None, asked, measures, Progress())


def test_a_folder_without_the_benchmark_s_pictures_is_refused_with_the_first_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from measuring.benchmarks.numbers import Eye

    monkeypatch.setattr(benchmark, "_eye", lambda *_: Eye(find_shapes, "shapes", 0.1))
    with pytest.raises(BadInput, match=r"where geneval-position has its first, 00000/samples/0000\.png"):
        measure_benchmark(
            load_config(PRESET), None, Asked("geneval-position", pictures=tmp_path), NO_MEASURE, Progress()
        )


def test_eval_hands_on_a_benchmark_and_refuses_what_would_not_be_used(
    run_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlrig.cli.measure_benchmark", lambda *given: asked.append(given) or {"prompts": 3})
    options = ["--benchmark", "visor", "--prompt-file", "p.json", "--images", "2", "--prompts", "3000", "--out", "x"]
    result = CliRunner().invoke(app, ["eval", str(run_file), *options, "--json"])
    assert result.exit_code == 0, result.output
    _, run, what, _, _ = asked[0]
    assert run is None
    assert what == Asked("visor", Path("p.json"), 2, None, 3000, Path("x"))
    for option in ("--prompt-file", "--images", "--pictures"):
        result = CliRunner().invoke(app, ["eval", str(run_file), option, "1"])
        assert result.exit_code == 2
        assert f"{option} 1: nothing would use it; add --benchmark" in result.output
