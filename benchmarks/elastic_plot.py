"""The plot of `benchmarks.elastic`: counts over time as steps, and below them images per second. A file that stands
alone, in light and in dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from benchmarks.elastic_run import Sight
from reports.drawing.charts import COLOURS, DASHES, nice_ticks

WIDTH = 720
_LEFT, _RIGHT, _TOP = 52, 16, 66
_HEIGHTS = (190, 120)
_GAP, _BOTTOM = 44, 44
_STYLE = (
    "<style>:root{color-scheme:light dark}.back{fill:#fff}.grid{stroke:#dfe3e8}.mark{stroke:#8a939c;"
    "stroke-dasharray:3 3}text{font:13px system-ui,sans-serif;fill:#4d565f}.title{font-weight:600;fill:#1d2329}"
    "path{fill:none;stroke-width:2}@media (prefers-color-scheme:dark){.back{fill:#171b1f}.grid{stroke:#343b43}"
    "text{fill:#a7b0b9}.title{fill:#e4e8ec}}</style>"
)
_NAMES = {"nodes": "nodes", "editor": "Inverse Diffusers", "env_runner": "EnvRunners"}


class _Panel:
    """One pair of axes."""

    def __init__(self, top: float, height: float, end: float, most: float, unit: str) -> None:
        self.top, self.height, self.end = top, height, end
        self.ticks = nice_ticks(0.0, most, 4)
        self.unit = unit

    def x(self, seconds: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * seconds / self.end

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - value / self.ticks[-1])

    def axes(self, across: bool) -> list[str]:
        parts = [f'<text class="title" x="{_LEFT}" y="{self.top - 8:g}">{escape(self.unit)}</text>']
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        for second in nice_ticks(0.0, self.end, 8) if across else ():
            if second <= self.end:
                y = self.top + self.height + 18
                parts.append(f'<text x="{self.x(second):.1f}" y="{y:g}" text-anchor="middle">{second:g}</text>')
        return parts

    def steps(self, points: Sequence[tuple[float, float]], index: int) -> str:
        path = [f"M{self.x(points[0][0]):.1f},{self.y(points[0][1]):.1f}"]
        path += [f"H{self.x(at):.1f}V{self.y(value):.1f}" for at, value in points[1:]]
        dash = f' stroke-dasharray="{DASHES[index]}"' if DASHES[index] else ""
        return f'<path d="{"".join(path)}" stroke="{COLOURS[index]}"{dash}/>'


def plot(
    sights: Sequence[Sight], images: Sequence[tuple[float, float, float]], marks: Sequence[tuple[float, str]]
) -> str:
    """The SVG file.

    Args:
        sights: what there was, in the order of time.
        images: of each update, when it began, when it was complete, and images that it learned from per second.
        marks: moments, with their names.
    """
    lines = {
        name: [(s.seconds, float(s.nodes if key == "nodes" else s.workers[key])) for s in sights]
        for key, name in _NAMES.items()
    }
    end = max(sights[-1].seconds, images[-1][1])
    counts = _Panel(_TOP, _HEIGHTS[0], end, max(v for line in lines.values() for _, v in line), "nodes and processes")
    rates = _Panel(
        _TOP + _HEIGHTS[0] + _GAP,
        _HEIGHTS[1],
        end,
        max(rate for *_, rate in images),
        "images that updates learn from, per second",
    )
    height = rates.top + _HEIGHTS[1] + _BOTTOM
    title = "Nodes, workers and images of a run over time"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        f'role="img" aria-label="{title}">{_STYLE}<rect class="back" width="{WIDTH}" height="{height:g}"/>'
    ]
    for index, name in enumerate([*lines, "images per second"]):
        x, dash = 14 + 170 * index, f' stroke-dasharray="{DASHES[index]}"' if DASHES[index] else ""
        parts.append(f'<path d="M{x},20h30" stroke="{COLOURS[index]}"{dash}/><text x="{x + 36}" y="24">{name}</text>')
    parts += [*counts.axes(False), *rates.axes(True)]
    for at, name in marks:
        when = counts.x(at)
        ends = f'y1="{_TOP}" y2="{rates.top + rates.height:g}"'
        parts.append(f'<line class="mark" x1="{when:.1f}" x2="{when:.1f}" {ends}/>')
        parts.append(f'<text x="{when + 4:.1f}" y="{_TOP + 12}">{escape(name)}</text>')
    parts += [counts.steps(_changes(line), index) for index, line in enumerate(lines.values())]
    starts = [(begun, rate) for begun, _, rate in images]
    parts.append(rates.steps([*starts, images[-1][1:]], len(lines)))
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:g}" y="{height - 8:g}" text-anchor="middle">seconds since the run began</text>')
    return "".join(parts) + "</svg>\n"


def _changes(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The first and the last point, and those at which the value changes."""
    kept = [after for before, after in pairwise(points) if before[1] != after[1]]
    return [points[0], *kept, points[-1]]
