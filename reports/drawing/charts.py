"""Charts as inline SVG, which need no script and no request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 8, 24, 42
# Each has a contrast of 3:1 and more with the ground it is drawn on, light or dark.
COLOURS = ("#2f6fde", "#d9622b", "#2b8a5c", "#8a4fc7", "#a07d10", "#c2387a", "#2e88ad", "#6d727a")
DARK_COLOURS = ("#7aa7f5", "#f0905f", "#5fcf9b", "#b98bef", "#d9b84a", "#ea7fb0", "#7cc5e3", "#a9b0b8")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 4", "1 4", "9 3 2 3 2 3")  # so that colour alone tells nothing
_DOTS = 120  # points a line may have and still get a mark for each
_POINTED_AT = 400  # updates of a chart that tells the values of each
_DECADES = 9  # that an axis names
_LEAST = 1e-300  # nothing is measured as exactly; below it, the steps of an axis cannot be told from 0
_STRETCHES = 12  # stages that may be marked


@dataclass(frozen=True)
class Series:
    """One line, or one layer of a stack. A value of None is a gap; `band` holds the interval at each position."""

    name: str
    values: Sequence[float | None]
    band: Sequence[tuple[float, float] | None] = field(default=())


@dataclass(frozen=True)
class Stretch:
    """A part of the horizontal axis with a name: [start, stop) in positions."""

    name: str
    start: int
    stop: int


class _Frame:
    """Maps values to SVG coordinates, and draws axes."""

    low: float
    high: float

    def __init__(self, count: int, low: float, high: float, logarithmic: bool) -> None:
        self.count, self.logarithmic = count, logarithmic
        if logarithmic:
            least, most = math.floor(math.log10(low)), math.ceil(math.log10(high))
            most += most == least
            self.low, self.high = least, most
            step = max(1, math.ceil((most - least) / _DECADES))
            self.ticks = [10.0**power for power in range(least, most + 1, step)]
        else:
            self.ticks = nice_ticks(low, high)
            self.low, self.high = self.ticks[0], self.ticks[-1]

    def x(self, position: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (position + 0.5) / self.count

    def y(self, value: float) -> float:
        height = math.log10(value) if self.logarithmic else value
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (height - self.low) / (self.high - self.low))

    def points(self, pairs: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in pairs)

    def axes(self, labels: Sequence[str], stretches: Sequence[Stretch], across: str) -> list[str]:
        parts = []
        for stretch in stretches if len(stretches) <= _STRETCHES else ():
            left, right = self.x(stretch.start - 0.5), self.x(stretch.stop - 0.5)
            if stretch.start > 0:
                parts.append(
                    f'<line class="stage" x1="{left:.1f}" x2="{left:.1f}" y1="{TOP - 16}" y2="{HEIGHT - BOTTOM}"/>'
                )
            if right - left > 40:
                parts.append(f'<text class="stage" x="{left + 5:.1f}" y="{TOP - 8}">{escape(stretch.name)}</text>')
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            text = f"1e{round(math.log10(tick))}" if self.logarithmic else f"{tick:g}"
            parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4.5:.1f}" text-anchor="end">{text}</text>')
        step = max(1, math.ceil(self.count / 8))
        for position in range(0, self.count, step):
            x = self.x(position)
            label = f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">'
            parts.append(f"{label}{escape(labels[position])}</text>")
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text class="tick" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across)}</text>')
        return parts


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round numbers that enclose [low, high]."""
    largest = max(abs(low), abs(high))
    if high - low <= max(_LEAST, 1e-12 * largest):
        high = low + max(1.0, 1e-3 * largest)
    rough = (high - low) / wanted
    exponent = math.floor(math.log10(rough))
    power = 10.0**exponent
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, max(10, 2 - exponent)) for k in range(first, last + 1)]


def _svg(parts: Sequence[str], title: str) -> str:
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return head + "".join(parts) + "</svg>"


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """The values with their positions, cut at gaps."""
    runs: list[list[tuple[int, float]]] = [[]]
    for position, value in enumerate(values):
        if value is None or not math.isfinite(value):
            runs.append([])
        else:
            runs[-1].append((position, value))
    return [run for run in runs if run]


def line_chart(
    title: str,
    series: Sequence[Series],
    labels: Sequence[str],
    stretches: Sequence[Stretch] = (),
    logarithmic: bool = False,
) -> str:
    """Lines over updates; an empty string where there is nothing to draw.

    Args:
        labels: number of the update at each position.
        logarithmic: vertical axis; values that are not positive are gaps.
    """
    if logarithmic:
        series = [Series(s.name, [v if v is not None and v > _LEAST else None for v in s.values]) for s in series]
    pairs = [pair for line in series for run in _runs(line.values) for pair in run]
    if not pairs:
        return ""
    bounds = [value for _, value in pairs] + [end for line in series for ends in line.band if ends for end in ends]
    frame = _Frame(len(labels), min(bounds), max(bounds), logarithmic)
    parts = frame.axes(labels, stretches, "update")
    for index, line in enumerate(series):
        parts += _band(frame, line, index)
    for index, line in enumerate(series):
        parts += _line(frame, line, index, labels)
    if len(labels) <= _POINTED_AT:
        parts += _values_to_point_at(frame, series, labels)
    return _svg(parts, f"{title}: {'; '.join(_summary(line, labels) for line in series)}")


def _band(frame: _Frame, line: Series, index: int) -> list[str]:
    """The intervals of one line as areas, cut where one is missing."""
    parts = []
    for ends in zip(_runs([b and b[0] for b in line.band]), _runs([b and b[1] for b in line.band]), strict=True):
        lower, upper = ends
        if len(lower) == 1:
            at = frame.x(lower[0][0])
            heights = f'y1="{frame.y(lower[0][1]):.1f}" y2="{frame.y(upper[0][1]):.1f}"'
            parts.append(f'<line class="s{index} alone" x1="{at:.1f}" x2="{at:.1f}" {heights}/>')
        else:
            parts.append(f'<polygon class="f{index} band" points="{frame.points(upper + lower[::-1])}"/>')
    return parts


def _line(frame: _Frame, line: Series, index: int, labels: Sequence[str]) -> list[str]:
    parts = []
    dash = f' stroke-dasharray="{DASHES[index]}"' if DASHES[index] else ""
    for run in _runs(line.values):
        parts.append(f'<polyline class="s{index}" points="{frame.points(run)}"{dash}/>')
        for x, y in run if len(labels) <= _DOTS else ():
            parts.append(f'<circle class="f{index}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="2.6"/>')
    return parts


def _values_to_point_at(frame: _Frame, series: Sequence[Series], labels: Sequence[str]) -> list[str]:
    """For each update a strip over the whole height that tells the values of all lines to who points at it."""
    width = (WIDTH - LEFT - RIGHT) / len(labels)
    parts = []
    for position, label in enumerate(labels):
        known = [
            f"{line.name} {value:.4g}" + (f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else "")
            for line in series
            if (value := line.values[position]) is not None
            for ends in [line.band[position] if line.band else None]
        ]
        if known:
            tip = f"<title>update {escape(label)}: {escape('; '.join(known))}</title>"
            across = f'x="{frame.x(position) - width / 2:.1f}" width="{width:.1f}"'
            parts.append(f'<rect class="hit" {across} y="{TOP}" height="{HEIGHT - TOP - BOTTOM}">{tip}</rect>')
    return parts


def _summary(line: Series, labels: Sequence[str]) -> str:
    """A line in words, for who cannot see it."""
    known = [pair for run in _runs(line.values) for pair in run]
    if not known:
        return f"{line.name} has no value"
    (first, start), (last, end) = known[0], known[-1]
    return f"{line.name} from {start:.4g} at update {labels[first]} to {end:.4g} at update {labels[last]}"


def bar_chart(
    title: str,
    layers: Sequence[Series],
    labels: Sequence[str],
    stretches: Sequence[Stretch] = (),
    across: str = "update",
) -> str:
    """Stacked bars of seconds, one layer for each series; an empty string where there is nothing to draw.

    Args:
        labels: of each bar.
        across: what the bars are.
    """
    totals = [sum(layer.values[k] or 0.0 for layer in layers) for k in range(len(labels))]
    if not totals or max(totals) <= 0:
        return ""
    frame = _Frame(len(labels), 0.0, max(totals), False)
    width = (WIDTH - LEFT - RIGHT) / len(labels) * 0.72
    parts = frame.axes(labels, stretches, across)
    for position in range(len(labels)):
        base = 0.0
        for index, layer in enumerate(layers):
            value = layer.values[position] or 0.0
            top, bottom = frame.y(base + value), frame.y(base)
            tip = f"<title>{across} {escape(labels[position])}: {escape(layer.name)} {value:.2f} s</title>"
            box = (
                f'x="{frame.x(position) - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}"'
            )
            parts.append(f'<rect class="f{index}" {box}>{tip}</rect>')
            base += value
    return _svg(parts, f"{title}: {', '.join(layer.name for layer in layers)}, for each {across}")
