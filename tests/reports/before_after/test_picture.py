from pathlib import Path

import numpy as np
from PIL import Image

from reports.before_after.picture import PICTURE, THUMBNAIL, picture, thumbnail, write_pictures
from reports.before_after.rows import BeforeAfter, Cell, before_after
from reports.drawing.paper import EDGE, GREEN, RED
from tests.reports.held_out_episodes import scenes, write_evaluation


def found(tmp_path: Path, count: int) -> BeforeAfter:
    write_evaluation(tmp_path, "before", [False] * count, exact=[False] * count)
    write_evaluation(tmp_path, "after", [True] * count, exact=[True] * count)
    return before_after(tmp_path)[0]


def share(image: Image.Image, colour: tuple[int, int, int]) -> float:
    return float((np.asarray(image)[..., :3] == colour).all(axis=-1).mean())


def test_every_image_stands_in_it_with_the_colour_of_its_mark(tmp_path: Path) -> None:
    compared = found(tmp_path, 2)
    image = picture(compared, "two prompts")
    assert share(image, RED) > 1.8 * share(image, GREEN) > 0  # two columns do not hold, one does
    around = np.asarray(image)
    for scene in scenes(2):
        large = np.asarray(Image.fromarray(scene.image).resize((192, 192), Image.Resampling.NEAREST))[:140, :140]
        places = [
            (y, x)
            for y in range(0, around.shape[0] - 140, 1)
            for x in (338, 338 + 212, 338 + 424)
            if (around[y : y + 140, x : x + 140] == large).all()
        ]
        assert len(places) == 2  # untrained and trained


def test_more_than_four_prompts_go_to_the_right(tmp_path: Path) -> None:
    wide, narrow = picture(found(tmp_path / "a", 8), "t"), picture(found(tmp_path / "b", 4), "t")
    assert wide.height == narrow.height
    assert wide.width > 1.9 * narrow.width


def test_the_thumbnail_is_small_and_an_image_that_is_missing_is_grey(tmp_path: Path) -> None:
    compared = found(tmp_path, 2)
    small = thumbnail(compared)
    assert max(small.size) <= 120
    assert share(small, GREEN) > 0
    empty = [type(row)(row.requirements, (Cell(None, True),) * 3) for row in compared.rows]
    assert share(thumbnail(BeforeAfter(compared.columns, tuple(empty), True)), EDGE) > 0.5


def test_both_are_written_as_png(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert write_pictures(found(tmp_path, 1), out, "run") == out / PICTURE
    for name in (PICTURE, THUMBNAIL):
        with Image.open(out / name) as image:
            assert image.format == "PNG"
