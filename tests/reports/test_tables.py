import io

import pytest
from rich.console import Console

from reports.tables import DIFFERENCE, clock_text, held_out_columns, held_out_rows, summary_table


@pytest.mark.parametrize(("seconds", "text"), [(None, "–"), (0, "0:00"), (65, "1:05"), (3725, "1:02:05")])
def test_clock_text(seconds: float | None, text: str) -> None:
    assert clock_text(seconds) == text


def test_held_out_rows_compare_first_and_last_evaluation() -> None:
    summary = {
        "run": "x",
        "before": {"sg_iou": 0.4, "gone": 1.0},
        "after_actor": {"sg_iou": 0.5},
        "after": {"sg_iou": 0.6},
    }
    columns = held_out_columns(summary)
    assert list(columns) == ["before", "after actor", "after"]
    rows = held_out_rows(columns)
    assert rows[0][:2] == ("sg_iou", [0.4, 0.5, 0.6])
    assert rows[0][2] == pytest.approx(0.2)
    assert rows[1] == ("gone", [1.0, None, None], None)


def test_an_evaluation_is_shown_with_its_intervals() -> None:
    bounds = {
        "loop": {"sg_iou": {"mean": 0.5, "low": 0.45, "high": 0.55}},
        DIFFERENCE: {"sg_iou": {"mean": 0.1, "low": -0.02, "high": 0.22}},
    }
    summary = {"prompts": 8, "diffuser": {"sg_iou": 0.4}, "loop": {"sg_iou": 0.5, "turns_used": 1.5}}
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(summary_table({**summary, "intervals": bounds}))
    _, row, turns = (" ".join(line.split()) for line in console.export_text().splitlines() if line.strip())
    assert row == "SG-IoU 0.400 0.500 [0.45, 0.55] +0.100 [-0.02, +0.22]"
    assert turns == "turns used – 1.500"
