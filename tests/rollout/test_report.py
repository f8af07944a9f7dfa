import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rollout.charts import BOTTOM, HEIGHT, TOP, Series, Stretch, bar_chart, line_chart, nice_ticks
from rollout.errors import BadInput
from rollout.gallery import choose, episodes, read_rows
from rollout.report import read_metrics, render_report, write_report
from tests.rollout.synthetic_run import write_run


class Requests(HTMLParser):
    """Collects every address that a browser would ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "synthetic")


def test_report_asks_for_nothing_outside_itself(run: Path) -> None:
    text = write_report(run).read_text()
    parser = Requests()
    parser.feed(text)
    assert parser.addresses
    assert [address for address in parser.addresses if not address.startswith("data:")] == []
    assert "<script" not in text
    assert re.findall(r"url\(|@import", text) == []


def test_images_are_png_and_pixelated(run: Path) -> None:
    text = render_report(run)
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(images) >= 10
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)
    assert "image-rendering: pixelated" in text


def test_report_shows_metrics_curves_and_reflections(run: Path) -> None:
    text = render_report(run)
    assert "<td>0.431</td><td>0.548</td>" in text
    assert "+0.117" in text
    assert text.count('<svg class="chart"') == 5
    assert "red circle right of blue square" in text
    assert "models in models/" in text


def test_what_a_model_writes_is_never_markup(tmp_path: Path) -> None:
    text = render_report(write_run(tmp_path / "run", hostile="<script>alert(1)</script>"))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_half_a_line_and_a_missing_summary_are_told(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 8, "sta')
    (run / "summary.json").unlink()
    lines, faults = read_metrics(run / "metrics.jsonl")
    assert len(lines) == 8
    assert faults == ["metrics.jsonl, line 9: not a JSON object, left out"]
    text = render_report(run)
    assert "line 9: not a JSON object" in text
    assert "the run has not finished" in text


def test_a_damaged_parquet_is_told_and_the_curves_stay(run: Path) -> None:
    (run / "trajectories" / "00003.parquet").write_bytes(b"not parquet")
    text = render_report(run)
    assert "00003.parquet" in text
    assert text.count('<svg class="chart"') == 5


def test_an_empty_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"neither metrics\.jsonl nor trajectories"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_update_without_groups_or_mismatch_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"update": 0, "stage": "actor", "reward_mean": 0.5}) + "\n")
    text = render_report(tmp_path)
    assert text.count('<svg class="chart"') == 1


def test_episode_follows_the_member_that_went_on(run: Path) -> None:
    rows = read_rows(run / "trajectories")
    found = episodes(rows)
    assert len(found) == 2 * 4 * 3
    for episode in found:
        assert len(episode.turns) == 2
        for turn in episode.turns:
            assert turn.reward == max(reward for _, reward in turn.members)
            assert turn.image == turn.members[0][0]
        assert sum(image is None for image, _ in episode.turns[0].members) == 1


def test_gallery_goes_on_from_the_image_before_where_a_turn_made_nothing_better(run: Path) -> None:
    rows = read_rows(run / "trajectories")
    ours = [row for row in rows if (row["update"], row["prompt_id"]) == (0, rows[0]["prompt_id"])]
    start = ours[0]["image_before"]
    for row in ours:
        row["image_before"] = start
        row["carried_on"] = row["carried_on"] and row["turn"] == 1
    (episode,) = episodes(ours)
    assert [turn.kept for turn in episode.turns] == [False, True]
    assert episode.gain == pytest.approx(episode.turns[1].reward - episode.reward_before)
    for row in ours:
        row["carried_on"] = False
    assert episodes(ours)[0].gain == 0.0


def test_gallery_takes_the_last_update_of_each_stage(run: Path) -> None:
    chosen = choose(episodes(read_rows(run / "trajectories")), improved=2)
    assert [(episode.stage, episode.update) for episode in chosen] == [("actor", 3)] * 3 + [("editor", 7)] * 3
    gains = [episode.gain for episode in chosen[:3]]
    assert gains == sorted(gains, reverse=True)


def test_line_chart_maps_values_to_heights() -> None:
    svg = line_chart("t", [Series("a", [0.0, 1.0])], [0, 1])
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', svg)]
    assert heights == [HEIGHT - BOTTOM, TOP]


def test_line_chart_leaves_gaps_and_drops_what_a_logarithm_cannot_show() -> None:
    svg = line_chart("t", [Series("a", [1.0, None, 2.0, float("nan"), 3.0])], list(range(5)))
    assert svg.count("<circle") == 3
    assert svg.count("<polyline") == 3
    assert line_chart("t", [Series("a", [0.0, 1e-3])], [0, 1], logarithmic=True).count("<circle") == 1
    assert line_chart("t", [Series("a", [None])], [0]) == ""


def test_bars_stack_to_their_sum() -> None:
    svg = bar_chart("t", [Series("a", [3.0]), Series("b", [1.0])], [0], [Stretch("actor", 0, 1)])
    heights = [float(height) for height in re.findall(r'<rect [^>]* height="([\d.]+)"', svg)]
    assert heights[0] == pytest.approx(3 * heights[1], rel=1e-2)
    assert bar_chart("t", [Series("a", [0.0])], [0]) == ""


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.31, 0.34), (-3, 250), (5, 5), (0, 1e-6)])
def test_ticks_are_few_and_enclose_the_values(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert 2 <= len(ticks) <= 8
