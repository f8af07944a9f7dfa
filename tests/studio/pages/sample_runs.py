"""Folders of runs for the tests of the pages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from rollout.trajectory import read_parquet, write_parquet
from tests.reports.synthetic_run import write_run

TOKENIZER = Path("presets/tiny/models/actor/tokenizer.json").resolve()
UPDATES, PROMPTS, MEMBERS, TURNS = 2, 3, 4, 2


def write_sample(runs: Path, hostile: str = "") -> Path:
    """A whole run with two updates of each policy, in which the last one dropped a group; its Actor's tokenizer is
    there."""
    run = write_run(runs / "sample", UPDATES, PROMPTS, MEMBERS, TURNS, hostile, flow=True)
    last = run / "trajectories" / "00003.parquet"
    turns = read_parquet(last)
    first = turns[0].group
    write_parquet(
        [replace(t, dropped=t.group == first, advantage=(-1.0) ** t.member, token_ids=[79, 2]) for t in turns], last
    )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line["groups_dropped"] = int(line["update"] == 3)
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    actor = run / "models" / "actor"
    actor.mkdir(parents=True)
    (actor / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    return run


def write_empty(runs: Path, name: str = "empty") -> Path:
    """A run that has only begun."""
    run = runs / name
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("stages:\n- {stage: actor, updates: 4}\n")
    return run
