"""The scores of single held-out prompts: what the means of an evaluation are made of, so that runs can be paired."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from reports.reading.table import Table
from reports.reading.values import Faults, is_number
from scenes.whole_file import whole_file

if TYPE_CHECKING:
    from measuring.evaluation import PromptScores

_ROWS, _PROMPTS = 100_000, 5_000
HELD_OUT_SCHEMA = pa.schema(
    [
        pa.field("images", pa.string(), False, {"doc": "diffuser: the first image of each episode; loop: the last"}),
        pa.field("prompt_id", pa.string(), False, {"doc": "img_id of the scene graph"}),
        pa.field("metric", pa.string(), False, {"doc": "as in summary.json"}),
        pa.field("value", pa.float64(), False, {"doc": "score of this prompt; one that was not scored has no row"}),
    ],
    metadata={"rlrig.table": "held_out", "rlrig.version": "1"},
)


def write_held_out(scores: Mapping[str, Mapping[str, Mapping[str, float]]], path: Path) -> Path:
    """Write the scores of one evaluation; the file appears complete or not at all."""
    rows = [
        {"images": images, "prompt_id": prompt_id, "metric": metric, "value": value}
        for images, by_metric in scores.items()
        for metric, by_prompt in by_metric.items()
        for prompt_id, value in by_prompt.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=HELD_OUT_SCHEMA), partial, compression="zstd")
    return path


def read_held_out(path: Path) -> tuple[PromptScores, list[str]]:
    """The scores that `write_held_out` wrote, and what was wrong with others.

    Raises:
        DamagedFile: another table; the message names the file.
    """
    table = Table(path, f"held_out/{path.name}", HELD_OUT_SCHEMA, _check, HELD_OUT_SCHEMA.names, most_rows=_ROWS)
    scores: PromptScores = {}
    faults = Faults(path.name)
    for number, row in table.rows(HELD_OUT_SCHEMA.names):
        of_metric = scores.setdefault(row["images"], {}).setdefault(row["metric"], {})
        if not is_number(row["value"]):
            faults.add(f"held_out/{path.name}: value is {row['value']} in row {number}, the row is left out")
        elif len(of_metric) >= _PROMPTS:
            faults.add(f"held_out/{path.name}: more than {_PROMPTS} prompts, row {number} is left out")
        else:
            of_metric[row["prompt_id"]] = row["value"]
    return scores, [*table.faults, *faults.texts]


def _check(schema: pa.Schema) -> None:
    if not schema.equals(HELD_OUT_SCHEMA):
        raise ValueError(f"it holds the columns {', '.join(schema.names[:20])}; it is no table of held-out scores")
