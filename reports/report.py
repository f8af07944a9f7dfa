"""`rlrig report`: one page about one run or several, and every number of it as Parquet and as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from measuring.reward_gap import trends
from presets.errors import BadInput
from reports.before_after.picture import write_pictures
from reports.before_after.rows import before_after
from reports.before_after.verdict import verdict
from reports.content import BOOTSTRAP, Report, RunReport
from reports.drawing.charts import COLOURS
from reports.fault_numbers import fault_numbers
from reports.gallery import ShownEpisode, choose, episode_numbers, not_kept, read_episodes
from reports.held_out_numbers import comparison_numbers, held_out_numbers
from reports.number import Number, numbers_table
from reports.page import page
from reports.reading.table import DamagedFile
from reports.run_facts import differing_settings, fact_numbers, facts, own_reward, starts_told
from reports.run_record import PARTS, RunRecord, read_run
from reports.storage import Mirror
from reports.training_numbers import time_numbers, training_numbers
from scenes.whole_file import whole_file

MOST_RUNS = len(COLOURS)
PAGE, TABLE, VALUES = "report.html", "report.parquet", "report.json"


def make_report(records: Sequence[RunRecord]) -> Report:
    """Measure the runs.

    Raises:
        BadInput: no run, more than there are colours, or two of the same name.
    """
    names = [record.name for record in records]
    if not 1 <= len(names) <= MOST_RUNS:
        raise BadInput(f"RUN: {len(names)} runs were given; give between 1 and {MOST_RUNS}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"RUN: two runs are called {twice[0]!r}; give each run once")
    several = len(records) > 1
    return Report(
        runs=[_about(record, *((1, 1) if several else (3, 2))) for record in records],
        comparison=comparison_numbers(records, BOOTSTRAP) if several else [],
        differing=differing_settings(records) if several else {},
    )


def _about(record: RunRecord, best: int, worst: int) -> RunReport:
    shown: list[ShownEpisode] = []
    missing, damaged = list(record.missing), list(record.damaged)
    for update in record.last_updates.values():
        try:
            found, faults = read_episodes(record.folder / "trajectories" / f"{update:05}.parquet")
        except DamagedFile as error:
            found, faults = [], [str(error)]
        shown += found
        damaged += [fault for fault in faults if fault not in damaged]
        if found and all(episode.image is None for episode in found):
            missing.append(not_kept(found[0].stage, update))
    compared, faults = before_after(record.folder)
    damaged += [fault for fault in faults if fault not in damaged]
    record = replace(record, missing=missing, damaged=damaged)
    chosen = choose(shown, best, worst)
    numbers = [
        *fact_numbers(record),
        *held_out_numbers(record, BOOTSTRAP),
        *training_numbers(record, BOOTSTRAP),
        *time_numbers(record, BOOTSTRAP),
        *fault_numbers(record),
        *episode_numbers(record.name, chosen),
    ]
    own = own_reward(record)
    drift = trends(record.lines, bool(own))
    for trend in drift:
        for metric, value in (("reward_rise", trend.reward_rise), ("truth_rise", trend.truth_rise)):
            numbers.append(Number(record.name, "gap", metric, value, policy=trend.policy))
    told = verdict(record, numbers)
    return RunReport(record, told, compared, facts(record), starts_told(record), own, numbers, drift, chosen)


def write_report(runs: Sequence[str], out: Path | None = None) -> Path:
    """Read the runs, and write `report.html`, `report.parquet` and `report.json`; returns the path of the page. Of one
    run that holds held-out episodes, `before_after.png` is written, too.

    Args:
        runs: folders, or URIs that `pyarrow.fs` or fsspec knows.
        out: folder of the files; by default that of the run, where it is one that lies here.

    Raises:
        BadInput: a folder that holds no run, too many runs, or no folder for several of them.
        RunFailed: a storage does not answer, or refuses.
    """
    if out is None:
        if len(runs) != 1 or "://" in runs[0]:
            raise BadInput("--out: is missing; several runs, or one at a URI, need a folder for their report")
        out = Path(runs[0])
    with tempfile.TemporaryDirectory() as scratch:
        report = make_report(_read(runs, Path(scratch)))
    text = page(report)
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / TABLE) as partial:
        pq.write_table(numbers_table(report.numbers), partial, compression="zstd")
    with whole_file(out / VALUES) as partial:
        partial.write_text(json.dumps(report.as_json(), indent=1, allow_nan=False), encoding="utf-8")
    if len(report.runs) == 1 and (compared := report.runs[0].before_after) is not None:
        write_pictures(compared, out, report.runs[0].record.name)
    with whole_file(out / PAGE) as partial:
        partial.write_text(text, encoding="utf-8")
    return out / PAGE


def _read(runs: Sequence[str], scratch: Path) -> list[RunRecord]:
    """The records, named after their folders; where two folders are called alike, after their parents as well."""
    places = []
    for number, run in enumerate(runs):
        if "://" in run:
            mirror = Mirror(run, option="RUN")
            folder = scratch / str(number) / mirror.name
            mirror.pull_parts(folder, PARTS)
            places.append((folder, [mirror.name, run]))
        else:
            folder = Path(run)
            places.append((folder, [folder.resolve().name, "/".join(folder.resolve().parts[-2:])]))
    short = [names[0] for _, names in places]
    return [read_run(folder, names[0] if short.count(names[0]) == 1 else names[1]) for folder, names in places]
