import re

import pytest

from reports.drawing.charts import (
    BOTTOM,
    COLOURS,
    DARK_COLOURS,
    DASHES,
    HEIGHT,
    TOP,
    Series,
    Stretch,
    bar_chart,
    line_chart,
)
from reports.drawing.charts import nice_ticks as ticks_of


def test_line_chart_maps_values_to_heights() -> None:
    svg = line_chart("t", [Series("a", [0.0, 1.0])], ["0", "1"])
    heights = [float(y) for y in re.findall(r'cx="[\d.]+" cy="([\d.]+)"', svg)]
    assert heights == [HEIGHT - BOTTOM, TOP]


def test_line_chart_leaves_gaps_and_drops_what_a_logarithm_cannot_show() -> None:
    svg = line_chart("t", [Series("a", [1.0, None, 2.0, float("nan"), 3.0])], list("01234"))
    assert svg.count("<circle") == 3
    assert svg.count("<polyline") == 3
    assert line_chart("t", [Series("a", [0.0, 1e-3])], ["0", "1"], logarithmic=True).count("<circle") == 1
    assert line_chart("t", [Series("a", [None])], ["0"]) == ""


def test_a_band_reaches_from_its_lower_to_its_upper_end_and_is_cut_where_there_is_none() -> None:
    band = [(0.0, 1.0), (0.25, 0.75), None, (0.0, 0.5)]
    svg = line_chart("t", [Series("a", [0.5] * 4, band)], list("0123"))
    (polygon,) = re.findall(r'<polygon class="f0 band" points="([^"]+)"', svg)
    heights = [float(pair.split(",")[1]) for pair in polygon.split()]
    assert heights[0] == TOP
    assert heights[-1] == HEIGHT - BOTTOM
    assert heights[1] - heights[0] == pytest.approx(heights[-1] - heights[-2], abs=0.2)
    assert svg.count("alone") == 1  # an interval without a neighbour is a line
    assert "a 0.5 [0, 1]" in svg


def test_a_chart_says_in_words_what_it_shows_and_escapes_names() -> None:
    svg = line_chart("Reward", [Series("<b>", [0.25, 0.5]), Series("none", [None, None])], ["3", "4"])
    (label,) = re.findall(r'aria-label="([^"]+)"', svg)
    assert label == "Reward: &lt;b&gt; from 0.25 at update 3 to 0.5 at update 4; none has no value"
    assert "<b>" not in svg


def test_bars_stack_to_their_sum() -> None:
    svg = bar_chart("t", [Series("a", [3.0]), Series("b", [1.0])], ["0"], [Stretch("actor", 0, 1)])
    heights = [float(height) for height in re.findall(r'<rect [^>]* height="([\d.]+)"', svg)]
    assert heights[0] == pytest.approx(3 * heights[1], rel=1e-2)
    assert bar_chart("t", [Series("a", [0.0])], ["0"]) == ""


def test_every_colour_has_a_dash_and_a_dark_counterpart() -> None:
    assert len(set(COLOURS)) == len(set(DARK_COLOURS)) == len(set(DASHES)) == len(COLOURS)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.31, 0.34), (-3, 250), (5, 5), (0, 1e-6)])
def test_ticks_are_few_and_enclose_the_values(low: float, high: float) -> None:
    ticks = ticks_of(low, high)
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert 2 <= len(ticks) <= 8
