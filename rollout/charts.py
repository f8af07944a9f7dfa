"""Charts as inline SVG, which need no script and no request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 8, 24, 42
COLOURS = ("#2f6fde", "#d9622b", "#2b9a66", "#8a4fc7", "#c9a227", "#c2387a", "#4aa3c7", "#7a7f87")


@dataclass(frozen=True)
class Series:
    """One line, or one layer of a stack. A value of None is a gap."""

    name: str
    values: Sequence[float | None]
    spread: Sequence[float | None] = field(default=())  # drawn as a band of ± spread around the values


@dataclass(frozen=True)
class Stretch:
    """A part of the horizontal axis with a name: [start, stop) in positions."""

    name: str
    start: int
    stop: int


class _Frame:
    """Maps values to SVG coordinates, and draws axes."""

    def __init__(self, count: int, low: float, high: float, logarithmic: bool) -> None:
        self.count, self.logarithmic = count, logarithmic
        if logarithmic:
            self.low, self.high = math.floor(math.log10(low)), math.ceil(math.log10(high))
            self.high += self.high == self.low
            self.ticks = [10.0**power for power in range(self.low, self.high + 1)]
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

    def axes(self, labels: Sequence[int], stretches: Sequence[Stretch]) -> list[str]:
        parts = []
        for stretch in stretches:
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
            label = f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{labels[position]}'
            parts.append(label + "</text>")
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text class="tick" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">update</text>')
        return parts


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round numbers that enclose [low, high]."""
    if high <= low:
        high = low + 1.0
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


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
    labels: Sequence[int],
    stretches: Sequence[Stretch] = (),
    logarithmic: bool = False,
) -> str:
    """Lines over updates; an empty string where there is nothing to draw.

    Args:
        labels: number of the update at each position.
        logarithmic: vertical axis; values that are not positive are gaps.
    """
    if logarithmic:
        series = [Series(s.name, [v if v is not None and v > 0 else None for v in s.values]) for s in series]
    bounds = []
    for line in series:
        for position, value in [pair for run in _runs(line.values) for pair in run]:
            around = (line.spread[position] or 0.0) if line.spread else 0.0
            bounds += [value - around, value + around]
    if not bounds:
        return ""
    frame = _Frame(len(labels), min(bounds), max(bounds), logarithmic)
    parts = frame.axes(labels, stretches)
    for line, colour in zip(series, COLOURS, strict=False):
        for run in _runs(line.values):
            if line.spread:
                spread = [line.spread[x] or 0.0 for x, _ in run]
                upper = [(x, y + s) for (x, y), s in zip(run, spread, strict=True)]
                lower = [(x, y - s) for (x, y), s in zip(run, spread, strict=True)]
                band = frame.points(upper + lower[::-1])
                parts.append(f'<polygon points="{band}" fill="{colour}" opacity="0.15"/>')
            parts.append(f'<polyline points="{frame.points(run)}" fill="none" stroke="{colour}" stroke-width="2"/>')
            for x, y in run:
                tip = f"<title>update {labels[x]}: {escape(line.name)} {y:.4g}</title>"
                parts.append(
                    f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="2.6" fill="{colour}">{tip}</circle>'
                )
    return _svg(parts, title)


def bar_chart(title: str, layers: Sequence[Series], labels: Sequence[int], stretches: Sequence[Stretch] = ()) -> str:
    """Stacked bars over updates, one layer for each series; an empty string where there is nothing to draw."""
    totals = [sum(layer.values[k] or 0.0 for layer in layers) for k in range(len(labels))]
    if not totals or max(totals) <= 0:
        return ""
    frame = _Frame(len(labels), 0.0, max(totals), False)
    width = (WIDTH - LEFT - RIGHT) / len(labels) * 0.72
    parts = frame.axes(labels, stretches)
    for position in range(len(labels)):
        base = 0.0
        for layer, colour in zip(layers, COLOURS, strict=False):
            value = layer.values[position] or 0.0
            top, bottom = frame.y(base + value), frame.y(base)
            tip = f"<title>update {labels[position]}: {escape(layer.name)} {value:.2f} s</title>"
            box = (
                f'x="{frame.x(position) - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}"'
            )
            parts.append(f'<rect {box} fill="{colour}">{tip}</rect>')
            base += value
    return _svg(parts, title)
