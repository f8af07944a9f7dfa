import json
import shutil

import numpy as np
import pytest
from PIL import Image

from reports.episode_folder import write_episode
from rollout.state import Episode, Frame
from scenes.scene_graph import parse_prompt
from scenes.shape_world import PREDICATES
from scenes.vocabulary.vocabulary import ANY_RELATION
from studio.pages.recorded_episodes import recorded_episodes
from studio.pages.run_index import RunsFolder


@pytest.fixture
def run(sample, tmp_path):
    run = shutil.copytree(sample / "sample", tmp_path / "sample")
    graph = parse_prompt("red circle left of blue square", PREDICATES)
    picture = np.full((64, 64, 3), 9, np.uint8)
    frames = [
        Frame(picture, [0.25], seed=1),
        Frame(picture + 1, [0.125], "asked", "answer", "it is right of", "move it", 2, kept=False),
    ]
    for name in ("before", "after_4", "after_12", "after"):
        write_episode(Episode(graph, frames), run / "episodes" / name / "00")
    return run


def of(run, updates=()):
    return recorded_episodes(RunsFolder(run.parent), run, updates)


def test_held_out_episodes_come_as_they_were_written(run):
    found = of(run)
    assert [one["name"].split(":")[0] for one in found] == [
        "held out, after, 00",
        "held out, after 12, 00",
        "held out, after 4, 00",
        "held out, before, 00",
    ]
    first, second = found[0]["turns"]
    assert (first["kept"], first["satisfaction"], first["edit_prompt"]) == (True, [0.25], None)
    assert (second["kept"], second["satisfaction"], second["reflection"]) == (False, [0.125], "it is right of")
    assert second["requirements"] == ["red circle left of blue square"]
    assert first["image"].startswith("data:image/png")
    assert first["image"] != second["image"]


def test_requirements_of_any_words_are_shown_as_they_were_written(run):
    graph = ANY_RELATION.read("Кот [на] столе; a red fox on top of a table")
    frame = Frame(np.zeros((64, 64, 3), np.uint8), [0.75, 0.25], seed=1)
    write_episode(Episode(graph, [frame]), run / "episodes" / "after" / "01")
    (turn,) = of(run)[1]["turns"]
    assert turn["requirements"] == ["Кот на столе", "red fox on top of table"]
    assert turn["satisfaction"] == [0.75, 0.25]


def test_episodes_of_training_follow_and_their_lot_is_said(run):
    found = of(run, [3])
    assert [one["lost"] for one in found[4:]] == ["this member was discarded"] * (len(found) - 4)
    assert found[4]["name"].startswith("editor, update 3, best 1")
    assert [turn["index"] for turn in found[4]["turns"]] == list(range(len(found[4]["turns"])))


def test_what_is_broken_or_leads_out_is_said(run, tmp_path):
    (run / "episodes" / "before" / "00" / "trace.json").write_text("{")
    (run / "episodes" / "after" / "00" / "trace.json").write_text(
        json.dumps({"prompt": "p", "turns": [{"image": "../../secret.png", "kept": True, "satisfaction": {}}]})
    )
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    found = of(run)
    broken = [one for one in found if "cannot be read" in one["name"]]
    assert [one["turns"] for one in broken] == [[], []]
    assert len(found) == 4
