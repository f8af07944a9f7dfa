"""Points with intervals as SVG files that stand alone, in light and in dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from reports.drawing.charts import COLOURS, nice_ticks
from reports.intervals import Interval

WIDTH = 720
LEFT, RIGHT, TOP, BOTTOM = 150, 190, 40, 48
_ROW, _LABEL_GAP = 30, 18
_STYLE = (
    "<style>:root{color-scheme:light dark}.back{fill:#fff}.grid{stroke:#dfe3e8}.lead{stroke:#b9c0c7}"
    "text{font:13.5px system-ui,sans-serif;fill:#4d565f}.name{fill:#1d2329}.title{font-weight:600;fill:#1d2329}"
    "@media (prefers-color-scheme:dark){.back{fill:#171b1f}.grid{stroke:#343b43}.lead{stroke:#55606b}"
    "text{fill:#a7b0b9}.name,.title{fill:#e4e8ec}}</style>"
)


@dataclass(frozen=True)
class Point:
    """One arm: `value` is drawn with its interval, `cost` is the other axis of the scatter. None: not run."""

    name: str
    value: Interval | None
    cost: Interval | None = None


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img" aria-label="{escape(title)}">{_STYLE}'
        f'<rect class="back" width="{WIDTH}" height="{height:g}"/>'
        f'<text class="title" x="14" y="22">{escape(title)}</text>'
    )
    return head + "".join(parts) + "</svg>\n"


def _line(kind: str, x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{more}/>'


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y + 4.5:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(x: float, y: float, colour: str, tip: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>{escape(tip)}</title></circle>'


def _thick(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return _line("bar", x1, y1, x2, y2, f' stroke="{colour}" stroke-width="2.5" stroke-linecap="round"')


def interval_text(interval: Interval) -> str:
    """`0.412 [0.389, 0.435]`."""
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _scale(ticks: Sequence[float], start: float, stop: float) -> Callable[[float], float]:
    return lambda value: start + (stop - start) * (value - ticks[0]) / (ticks[-1] - ticks[0])


def _bounds(intervals: Sequence[Interval]) -> tuple[float, float]:
    return min(one.low for one in intervals), max(one.high for one in intervals)


def interval_chart(title: str, axis: str, points: Sequence[Point]) -> str:
    """A row for each point, its interval as a horizontal line; an empty string where there is nothing to draw."""
    known = [point.value for point in points if point.value is not None]
    if not known:
        return ""
    ticks = nice_ticks(*_bounds(known))
    bottom = TOP + _ROW * len(points)
    x = _scale(ticks, LEFT, WIDTH - RIGHT)
    parts = []
    for tick in ticks:
        parts += [_line("grid", x(tick), TOP, x(tick), bottom), _text(x(tick), bottom + 14, f"{tick:g}", "middle")]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 34, axis, "middle"))
    for row, point in enumerate(points):
        y, colour = TOP + _ROW * (row + 0.5), COLOURS[row % len(COLOURS)]
        parts.append(_text(LEFT - 12, y, point.name, "end", "name"))
        if point.value is None:
            parts.append(_text(WIDTH - RIGHT + 14, y, "not run"))
            continue
        parts.append(_thick(x(point.value.low), y, x(point.value.high), y, colour))
        parts.append(_dot(x(point.value.mean), y, colour, f"{point.name}: {interval_text(point.value)}"))
        parts.append(_text(WIDTH - RIGHT + 14, y, interval_text(point.value)))
    return _svg(bottom + BOTTOM, title, parts)


def _spread(heights: Sequence[float], low: float, high: float) -> list[float]:
    """The ascending heights, moved as little as keeps them `_LABEL_GAP` apart and, where they fit, in [low, high]."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + _LABEL_GAP) if placed else max(height, low))
    limit = max(high, low + _LABEL_GAP * (len(placed) - 1))
    for k in range(len(placed) - 1, -1, -1):
        placed[k] = min(placed[k], limit)
        limit = placed[k] - _LABEL_GAP
    return placed


def scatter_chart(title: str, across: str, up: str, points: Sequence[Point]) -> str:
    """Value against cost, each with its interval, named at the right; an empty string where there is nothing to draw.

    Points without a value or a cost are left out; colours are those of `interval_chart` for the same points.
    """
    known = [
        (point.name, point.cost, point.value, COLOURS[k % len(COLOURS)])
        for k, point in enumerate(points)
        if point.value is not None and point.cost is not None
    ]
    if not known:
        return ""
    left, bottom = 62, 340
    down_ticks = nice_ticks(*_bounds([value for _, _, value, _ in known]))
    cross_ticks = nice_ticks(0.0, max(cost.high for _, cost, _, _ in known))
    x, y = _scale(cross_ticks, left, WIDTH - RIGHT), _scale(down_ticks, bottom, TOP + 18)
    parts = [_text(14, TOP + 2, up)]
    for tick in down_ticks:
        parts += [_line("grid", left, y(tick), WIDTH - RIGHT, y(tick)), _text(left - 8, y(tick), f"{tick:g}", "end")]
    for tick in cross_ticks:
        parts.append(_text(x(tick), bottom + 16, f"{tick:g}", "middle"))
    parts.append(_text((left + WIDTH - RIGHT) / 2, bottom + 36, across, "middle"))
    known.sort(key=lambda one: y(one[2].mean))
    labels = _spread([y(value.mean) for _, _, value, _ in known], TOP + 18, bottom)
    for (_, cost, value, _), height in zip(known, labels, strict=True):
        parts.append(_line("lead", x(cost.mean), y(value.mean), WIDTH - RIGHT + 14, height))
    for (name, cost, value, colour), height in zip(known, labels, strict=True):
        parts.append(_thick(x(cost.low), y(value.mean), x(cost.high), y(value.mean), colour))
        parts.append(_thick(x(cost.mean), y(value.low), x(cost.mean), y(value.high), colour))
        parts.append(_dot(x(cost.mean), y(value.mean), colour, f"{name}: {value.mean:.3f}, {cost.mean:.3f} s"))
        parts.append(f'<circle cx="{WIDTH - RIGHT + 20}" cy="{height:.1f}" r="4" fill="{colour}"/>')
        parts.append(_text(WIDTH - RIGHT + 30, height, name, kind="name"))
    return _svg(bottom + BOTTOM, title, parts)
