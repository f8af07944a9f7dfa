from pathlib import Path

import numpy as np
import pytest

from benchmarks.trajectories.__main__ import measure
from benchmarks.trajectories.update import picture, turns_of
from presets.disk import trajectories_on_disk
from presets.run_file import load_config
from rollout.trajectory import write_parquet
from scenes.pictures.size import PictureSize
from scenes.png import encode_png
from tests.places import ROOT

SMALL = ["data.source=shape_world", "data.path=null", "rollout.prompts_per_update=2", "rollout.group_size=4"]


@pytest.fixture(scope="module")
def config():
    return load_config(ROOT / "presets" / "cluster.yaml", [*SMALL, "diffuser.image_size=128"])


def test_pictures_take_as_many_bytes_as_photographs():
    png = encode_png(picture(np.random.default_rng(0), PictureSize(512, 512)))
    assert 1.3 < len(png) / 512**2 < 1.9


def test_the_estimate_of_the_plan_is_what_an_update_takes(config, tmp_path: Path):
    turns = list(turns_of(config, "editor", range(2)))
    _, editor = trajectories_on_disk(config).policies
    size = write_parquet(turns, tmp_path / "0.parquet").stat().st_size
    assert editor.update("all") == pytest.approx(size, rel=0.2)


@pytest.mark.parametrize("stage", ["actor", "editor"])
def test_the_driver_and_the_disk_are_measured_with_every_keep(config, tmp_path: Path, stage):
    table = measure(config, stage, tmp_path)
    kept, *_, mib, _ = (list(column.cells) for column in table.columns)
    assert kept == ["all", "images", "latents", "none"]
    sizes = [float(size) for size in mib]
    assert sizes[0] > sizes[3]
    assert (sizes[0] > sizes[1]) == (stage == "editor")  # while the Actor trains there are no latents
