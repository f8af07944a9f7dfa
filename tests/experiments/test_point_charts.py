from itertools import pairwise
from xml.etree import ElementTree

import pytest

from experiments.page import ARMS
from experiments.point_charts import LEFT, RIGHT, WIDTH, Point, interval_chart, scatter_chart
from reports.intervals import Interval

SVG = "{http://www.w3.org/2000/svg}"


def test_plots_place_points_where_their_values_are() -> None:
    points = [
        Point("a <b>", Interval(0.25, 0.2, 0.3), Interval(1.0, 1.0, 1.0)),
        Point("c", Interval(0.4, 0.4, 0.4)),
        Point("d", None),
    ]
    root = ElementTree.fromstring(interval_chart("SG-IoU", "SG-IoU", points))
    dots = [float(dot.get("cx", "nan")) for dot in root.iter(f"{SVG}circle")]
    assert dots == pytest.approx([LEFT + (WIDTH - RIGHT - LEFT) * 0.25, WIDTH - RIGHT], abs=0.1)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"a <b>", "not run", "0.250 [0.200, 0.300]"} <= set(texts)
    scatter = ElementTree.fromstring(scatter_chart("t", "seconds", "SG-IoU", points))
    names = [text.text for text in scatter.iter(f"{SVG}text") if text.get("class") == "name"]
    assert names == ["a <b>"]


def test_names_of_a_scatter_never_overlap() -> None:
    same = Interval(0.5, 0.45, 0.55)
    points = [Point(name, same, same) for name in ARMS]
    root = ElementTree.fromstring(scatter_chart("t", "seconds", "SG-IoU", points))
    heights = sorted(float(text.get("y", "nan")) for text in root.iter(f"{SVG}text") if text.get("class") == "name")
    assert min(b - a for a, b in pairwise(heights)) >= 17.9
