"""The frontier as one SVG file that stands alone: SG-IoU against model seconds, a panel for each set of prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from experiments.frontier.comparing import Cells, Measured
from experiments.frontier.prompts import SET_WORDS, SETS
from experiments.frontier.systems import RL_RIG, SYSTEMS
from reports.drawing.charts import COLOURS, DARK_COLOURS, DASHES, nice_ticks

_PANEL_WIDTH, _PANEL_HEIGHT, _LEFT, _GAP, _TOP, _BOTTOM = 340, 250, 52, 34, 48, 44
_LEGEND_ROW = 22
_STYLE = (
    "<style>:root{color-scheme:light dark}.back{fill:#fff}.grid{stroke:#dfe3e8}"
    "text{font:12.5px system-ui,sans-serif;fill:#4d565f}.title{font-weight:600;fill:#1d2329}"
    + "".join(f".s{k}{{stroke:{one};fill:{one}}}" for k, one in enumerate(COLOURS))
    + "polyline{fill:none!important}@media (prefers-color-scheme:dark){.back{fill:#171b1f}.grid{stroke:#343b43}"
    "text{fill:#a7b0b9}.title{fill:#e4e8ec}"
    + "".join(f".s{k}{{stroke:{one};fill:{one}}}" for k, one in enumerate(DARK_COLOURS))
    + "}</style>"
)


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _look(name: str) -> tuple[str, str, float]:
    """Class, dashes and width of a system's line."""
    if name == RL_RIG.name:
        return "s0", DASHES[0], 3.0
    index = [system.name for system in SYSTEMS if system != RL_RIG].index(name)
    again, colour = divmod(index, len(COLOURS) - 1)  # a colour that comes again has other dashes
    return f"s{1 + colour}", DASHES[1 + (colour + 3 * again) % (len(DASHES) - 1)], 1.6


def _panel(prompts: str, systems: Mapping[str, Mapping[float, Measured]], left: float, top: float) -> list[str]:
    points = [one for budgets in systems.values() for one in budgets.values()]
    across = nice_ticks(0.0, max(one.seconds for one in points))
    up = nice_ticks(min(one.sg_iou.mean for one in points), max(one.sg_iou.mean for one in points))
    right, bottom = left + _PANEL_WIDTH - _LEFT - _GAP, top + _PANEL_HEIGHT - _TOP - _BOTTOM

    def x(value: float) -> float:
        return left + (right - left) * (value - across[0]) / (across[-1] - across[0])

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - up[0]) / (up[-1] - up[0])

    parts = [_text(left, top - 14, f"SG-IoU, {SET_WORDS[prompts]}", kind="title")]
    for tick in up:
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(_text(left - 8, y(tick) + 4, f"{tick:g}", "end"))
    parts += [_text(x(tick), bottom + 18, f"{tick:g}", "middle") for tick in across]
    parts.append(_text((left + right) / 2, bottom + 36, "model seconds a prompt", "middle"))
    for name, budgets in systems.items():
        kind, dash, width = _look(name)
        line = sorted((one.seconds, one.sg_iou.mean) for one in budgets.values())
        drawn = " ".join(f"{x(seconds):.1f},{y(value):.1f}" for seconds, value in line)
        parts.append(f'<polyline class="{kind}" points="{drawn}" stroke-width="{width}" stroke-dasharray="{dash}"/>')
        parts += [
            f'<circle class="{kind}" cx="{x(seconds):.1f}" cy="{y(value):.1f}" r="{1.5 + width / 2}">'
            f"<title>{escape(name)}: {value:.3f}, {seconds:.3f} s</title></circle>"
            for seconds, value in line
        ]
    return parts


def _legend(names: Sequence[str], top: float) -> list[str]:
    parts = []
    for number, name in enumerate(names):
        kind, dash, width = _look(name)
        x, y = _LEFT + _PANEL_WIDTH * (number % 2), top + _LEGEND_ROW * (number // 2)
        parts.append(
            f'<polyline class="{kind}" points="{x},{y} {x + 34},{y}" stroke-width="{width}" stroke-dasharray="{dash}"/>'
        )
        parts.append(f'<circle class="{kind}" cx="{x + 17}" cy="{y}" r="{1.5 + width / 2}"/>')
        parts.append(_text(x + 42, y + 4, name))
    return parts


def frontier_plot(cells: Cells) -> str:
    """The SVG; an empty string where nothing was measured."""
    shown = [prompts for prompts in SETS if cells.get(prompts)]
    if not shown:
        return ""
    names = [system.name for system in SYSTEMS if any(system.name in cells[prompts] for prompts in shown)]
    rows = (len(shown) + 1) // 2
    height = rows * _PANEL_HEIGHT + _LEGEND_ROW * ((len(names) + 1) // 2) + 16
    parts: list[str] = []
    for number, prompts in enumerate(shown):
        left, top = _LEFT + _PANEL_WIDTH * (number % 2), _TOP + _PANEL_HEIGHT * (number // 2)
        parts += _panel(prompts, cells[prompts], left, top)
    parts += _legend(names, rows * _PANEL_HEIGHT + 18)
    title = "SG-IoU against model seconds"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _PANEL_WIDTH} {height}" '
        f'width="{2 * _PANEL_WIDTH}" height="{height}" role="img" aria-label="{title}">{_STYLE}'
        f'<rect class="back" width="{2 * _PANEL_WIDTH}" height="{height}"/>{"".join(parts)}</svg>\n'
    )
