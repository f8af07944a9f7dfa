import io
from pathlib import Path

import numpy as np
from PIL import Image

from reports.before_after.rows import before_after
from tests.reports.held_out_episodes import scenes, write_evaluation


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_the_same_prompts_stand_before_and_after_and_the_exact_extractor_marks_them(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "before", [True, False, True], exact=[False, False, True])
    write_evaluation(tmp_path, "after", [False, True, True], exact=[True, False, True])
    found, faults = before_after(tmp_path)
    assert faults == []
    assert found.columns == ("Diffuser", "untrained", "trained")
    assert found.exact
    assert [[cell.holds for cell in row.cells] for row in found.rows] == [
        [False, False, True],
        [False, False, False],
        [False, True, True],
    ]
    assert found.held == [0, 1, 2]
    assert found.counts == "Diffuser 0 of 3, untrained 1 of 3, trained 2 of 3"
    for scene, row in zip(scenes(3), found.rows, strict=True):
        assert row.requirements == tuple(requirement.text for requirement in scene.graph.requirements)
        first, *edits = (pixels(cell.image) for cell in row.cells)
        assert (first == 40).all()
        assert all((edit == scene.image).all() for edit in edits)


def test_without_exact_scores_of_all_prompts_the_checker_marks_all(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "before", [True, False], exact=[False, False])
    write_evaluation(tmp_path, "after", [False, True])
    found, _ = before_after(tmp_path)
    assert (found.exact, found.judge) == (False, "the Checker")
    assert found.held == [0, 1, 1]


def test_a_run_that_goes_on_shows_its_newest_evaluation(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "before", [True])
    assert before_after(tmp_path)[0].columns == ("Diffuser", "untrained")
    for name in ("after_8", "after_16"):
        write_evaluation(tmp_path, name, [True])
    assert before_after(tmp_path)[0].columns == ("Diffuser", "untrained", "after 16 updates")


def test_what_is_damaged_or_leads_out_is_named_and_left_out(tmp_path: Path) -> None:
    run, secret = tmp_path / "run", tmp_path / "secret.png"
    assert before_after(run) == (None, [])
    write_evaluation(run, "before", [True] * 3, exact=[True] * 3)
    Image.new("RGB", (4, 4)).save(secret)
    (run / "episodes" / "before" / "00" / "trace.json").write_text("{")
    image = run / "episodes" / "before" / "01" / "turn-1.png"
    image.unlink()
    image.symlink_to(secret)
    (run / "held_out" / "before.parquet").write_bytes(b"none")
    found, faults = before_after(run)
    assert [fault.split(" is ")[0] for fault in faults] == ["episodes/before/00", "held_out/before.parquet"]
    assert [row.cells[1].image is None for row in found.rows] == [True, False]
    assert not found.exact


def test_no_more_than_eight_prompts_are_shown(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "before", [True] * 10)
    assert len(before_after(tmp_path)[0].rows) == 8
