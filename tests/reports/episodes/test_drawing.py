"""What a program reads of an episode that has ended."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reports.episodes.drawing import Drawing
from rollout.state import Episode, Frame
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES
from tests.rollout.scripted_models import picture

GRAPH = parse_prompt("red circle left of blue square; green star above red circle", PREDICATES)


@pytest.fixture
def drawing() -> Drawing:
    """The first edit is kept, the second one is not."""
    texts = ("request", "answer", "reflection")
    frames = [
        Frame(picture(10), [0.1, 0.2], seed=1),
        Frame(picture(20), [0.9, 0.3], *texts, "move a left of b", seed=2),
        Frame(picture(30), [0.2, 0.4], *texts, "move b above a", seed=3, kept=False),
    ]
    return Drawing(Episode(GRAPH, frames))


def test_it_is_the_last_image_that_was_kept(drawing: Drawing) -> None:
    assert np.array_equal(drawing.image, picture(20))
    assert drawing.satisfaction == {"red circle left of blue square": 0.9, "green star above red circle": 0.3}
    assert drawing.edits == ["move a left of b", "move b above a"]


def test_it_shows_in_a_notebook_what_it_writes(drawing: Drawing, tmp_path: Path) -> None:
    trace = drawing.save(tmp_path / "out")
    assert [turn["kept"] for turn in trace["turns"]] == [True, True, False]
    assert json.loads((tmp_path / "out" / "trace.json").read_text()) == trace
    assert (tmp_path / "out" / "episode.png").read_bytes() == drawing._repr_png_()
