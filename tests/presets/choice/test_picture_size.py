"""Sizes of pictures that the models of a run cannot make are refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.tiny_families.z_image import build_z_image
from presets.choice.picture_size import check_exact_extractor, check_picture_size
from presets.errors import BadInput
from presets.run_config import RunConfig
from presets.run_file import load_config
from tests.places import PRESET, ROOT
from tests.tiny_families import EDITORS

NO_DATA = ("data.source=shape_world", "data.path=null")


def large(preset: str, *overrides: str) -> RunConfig:
    return load_config(ROOT / "presets" / f"{preset}.yaml", [*NO_DATA, *overrides])


@pytest.mark.parametrize("preset", ["cluster", "eight-gpus", "one-gpu", "qwen-image-edit"])
def test_what_the_large_presets_ask_for_is_made(preset: str) -> None:
    check_picture_size(large(preset))
    check_picture_size(large(preset, "diffuser.width=768"))


def test_each_side_is_refused_with_the_nearest_that_work() -> None:
    with pytest.raises(BadInput) as caught:
        check_picture_size(large("qwen-image-edit", "diffuser.width=1000", "diffuser.height=776"))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("diffuser.height: 776 is refused: the model hf://")
    assert lines[0].endswith("needs a multiple of 16, as 768 and 784")
    assert "diffuser.width: 1000 is refused: " in str(caught.value)
    with pytest.raises(BadInput, match=r"^diffuser\.image_size: 520 is refused: .* as 512 and 528"):
        check_picture_size(large("cluster", "diffuser.image_size=520", "diffuser.width=512"))


def test_the_small_models_need_a_multiple_of_8_and_the_extractor_needs_64x64() -> None:
    config = load_config(PRESET, ["diffuser.width=72"])
    check_picture_size(config)
    check_exact_extractor(load_config(PRESET))
    with pytest.raises(BadInput, match=r"shape_world is refused for pictures of 72x64: .* from 64x64 pixels"):
        check_exact_extractor(config)


def test_a_transformers_own_patches_count_where_the_pipeline_packs_none(tmp_path: Path) -> None:
    flux = f"models.flux={build_z_image(tmp_path / 'z')}"
    editor = f"models.editor={EDITORS['flux-kontext'].build(tmp_path / 'kontext')}"
    check_picture_size(load_config(PRESET, [flux, editor, "diffuser.width=96"]))
    with pytest.raises(BadInput, match=r"diffuser\.width: 104 is refused: the model .*/z needs a multiple of 16"):
        check_picture_size(load_config(PRESET, [flux, editor, "diffuser.width=104"]))
    own = "diffuser.family=mine:Drawer"
    with pytest.raises(BadInput, match=r"the model .*/kontext needs a multiple of 16"):
        check_picture_size(load_config(PRESET, [flux, editor, own, "diffuser.width=104"]))


def test_the_size_at_which_a_source_is_seen_is_looked_at() -> None:
    with pytest.raises(BadInput, match=r"^editor\.source_size: 500 is refused: .* a multiple of 16, as 496 and 512"):
        check_picture_size(large("qwen-image-edit", "editor.source_size=500"))
    check_picture_size(large("qwen-image-edit", "editor.source_size=500", "diffuser.width=768"))  # it is rounded then
    wide = ("diffuser.width=2048", "diffuser.height=16", "editor.source_size=64")
    with pytest.raises(BadInput, match=r"^editor\.source_size: 64 is refused for pictures of 2048x16: .* at 736x0"):
        check_picture_size(large("qwen-image-edit", *wide))
