from pathlib import Path

import numpy as np

from experiments.frontier.playing import Playing, points_of
from experiments.frontier.prompts import SETS, graphs_of, seed_of
from experiments.frontier.rows import Rows, loop_key, start_key
from experiments.frontier.systems import ORACLE, RAW, TEMPLATE, Setting
from rollout.state import Episode, Frame, Unread
from scenes.shape_world import PlacedObject, draw
from tests.experiments.frontier.small_world import small_cast


def test_the_sets_have_their_relations_and_no_two_share_a_seed() -> None:
    seeds = {seed_of(phase, prompts) for phase in ("validation", "test") for prompts in SETS}
    assert len(seeds) == 8
    for prompts, (low, high) in SETS.items():
        graphs = graphs_of("test", prompts, 30)
        counts = {len(graph.requirements) for graph in graphs}
        assert counts == set(range(low, high + 1))
        assert max(len(graph.items) for graph in graphs) <= 4


def test_traces_are_played_once_and_end_where_all_holds(tmp_path: Path) -> None:
    cast, rows, graphs = small_cast(), Rows(tmp_path), graphs_of("validation", "three", 12)
    playing = Playing(cast, rows, "validation", "three", graphs)
    playing.draw(8, 5)
    playing.loop(Setting(3, 8, 4, 2), TEMPLATE, RAW)
    drawings = [rows.find(start_key("validation", "three", graph.img_id, 8), 5) for graph in graphs]
    assert cast.diffuser.calls == {8: sum(len(one.points) for one in drawings if one)}  # type: ignore[attr-defined]
    edits = 0
    for one in drawings:
        assert one is not None
        assert all(point.held < 1.0 for point in one.points[:-1])
        assert len(one.points) == 5 or one.points[-1].held == 1.0
        loop = rows.find(loop_key(one.key, one.choice(3), TEMPLATE, RAW, 2), 4)
        assert loop is not None
        assert loop.points[0] == one.points[one.choice(3)]
        assert len(loop.points) == 5 or loop.points[-1].held == 1.0
        assert all(later.held >= before.held for before, later in zip(loop.points, loop.points[1:], strict=False))
        edits += loop.points[-1].edits
    assert cast.editors[RAW].calls == {2: edits}  # type: ignore[attr-defined]
    again = Playing(small_cast(), Rows(tmp_path), "validation", "three", graphs)
    again.draw(8, 5)
    again.loop(Setting(3, 8, 4, 2), TEMPLATE, RAW)
    assert again.cast.diffuser.calls == {}  # type: ignore[attr-defined]


def test_exact_edits_by_the_oracle_end_with_more_than_the_drawings(tmp_path: Path) -> None:
    rows, graphs = Rows(tmp_path), graphs_of("validation", "three", 24)
    playing = Playing(small_cast(), rows, "validation", "three", graphs)
    playing.draw(8, 1)
    playing.loop(Setting(1, 8, 4, 4), ORACLE, RAW)
    means = []
    for drawing, actor in ((-1, ""), (0, ORACLE)):
        start = start_key("validation", "three", graphs[0].img_id, 8)
        keys = [start._replace(prompt_id=graph.img_id) for graph in graphs]
        if actor:
            keys = [loop_key(key, drawing, actor, RAW, 4) for key in keys]
        found = [rows.find(key, 1) for key in keys]
        means.append(np.mean([one.points[-1].sg_iou for one in found if one]))
    assert means[1] > means[0] + 0.3


def test_points_follow_answers_that_cannot_be_read_and_edits_that_were_not_kept() -> None:
    graph = graphs_of("test", "two", 1)[0]
    image = draw((PlacedObject("red", "circle", 20, 20, 7),))
    frames = [
        Frame(image, [0.1, 0.1]),
        Frame(image, [0.1, 0.0], kept=False),
        Frame(image, [0.9, 0.2]),
    ]
    episode = Episode(graph, frames, [Unread(1, "", "", ""), Unread(3, "", "", "")])
    points = points_of(episode)
    assert [point.edits for point in points] == [0, 0, 1, 1, 2]
    assert [point.held for point in points] == [0.0, 0.0, 0.0, 0.0, 0.5]
