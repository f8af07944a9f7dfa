from pathlib import Path

import pytest

from benchmarks.large_editor import editor_config
from tests.places import ROOT


@pytest.mark.parametrize("gpus", [0, 1])
@pytest.mark.parametrize("preset", ["eight-gpus", "cluster"])
def test_presets_for_many_gpus_give_an_editor_for_one(preset: str, gpus: int, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    config = editor_config(ROOT / "presets" / f"{preset}.yaml", tmp_path, 64, gpus)
    assert config.models.edits_with == str(tmp_path)
    assert (config.learner.editor.ranks, config.learner.editor.gpus_per_rank) == (1, gpus)
    assert config.placement.share == []
    start, stop = (0, config.editor.steps - 1) if config.editor.sde_window is None else config.editor.sde_window
    assert stop - start == 5  # of which the images a second are counted
