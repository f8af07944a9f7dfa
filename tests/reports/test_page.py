"""Whether the page can be read: contrast, dark mode, keyboard, small screens."""

import re
from pathlib import Path

import pytest

import reports.page
from reports.drawing.charts import COLOURS, DARK_COLOURS

CSS = (Path(reports.page.__file__).parent / "templates" / "report.css.j2").read_text()
LIGHT, DARK = CSS.split("@media (prefers-color-scheme: dark)", 1)


def colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", css))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_of_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(("css", "lines"), [(LIGHT, COLOURS), (DARK.split("* {")[0], DARK_COLOURS)])
def test_text_and_lines_stand_out_in_light_and_in_dark(css: str, lines: tuple[str, ...]) -> None:
    found = colours(css)
    for ground in ("card", "page"):
        for text in ("ink", "soft", "yes", "no", "link"):
            assert contrast(found[text], found[ground]) >= 4.5, (text, ground)
        assert contrast(found["focus"], found[ground]) >= 3
    assert contrast(found["yes"], found["yes-back"]) >= 4.5
    assert contrast(found["no"], found["no-back"]) >= 4.5
    assert [colour for colour in lines if contrast(colour, found["card"]) < 3] == []


def test_the_focus_is_seen_and_nothing_is_wider_than_a_phone() -> None:
    assert re.search(r":focus-visible \{ outline: 3px solid", CSS)
    assert "outline: none" not in CSS
    assert "minmax(min(340px, 100%), 1fr)" in CSS
    assert ".wide { overflow-x: auto; }" in CSS
    widths = [int(width) for width in re.findall(r"(?<!max-)\bwidth: (\d+)px", CSS)]
    assert max(widths) <= 320
